"""What the samples share: checks that are counted, and the line that is read at the end."""

passed = failed = 0


def check(name, got, want=True):
    global passed, failed
    if got == want:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: got {repr(got)[:200]}, want {repr(want)[:200]}")


def finish():
    """Prints the counts; the exit status."""
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
