// Counted checks for the samples of Node.js.
'use strict';

const { isDeepStrictEqual, inspect } = require('util');

class Checks {
  passed = 0;

  failed = 0;

  // Compares what a promise or value comes to with what is wanted.
  check = async (name, promise, want) => {
    let got;
    try {
      got = await promise;
    } catch (error) {
      got = `error: ${error.message}`;
    }
    if (isDeepStrictEqual(got, want)) {
      this.passed += 1;
    } else {
      this.failed += 1;
      console.log(`FAILED ${name}: got ${inspect(got).slice(0, 200)}, want ${inspect(want).slice(0, 200)}`);
    }
  };

  checkError = async (name, promise, start) => {
    const message = await promise.then((got) => `no error but ${inspect(got)}`, (e) => e.message);
    await this.check(name, message.startsWith(start) || message, true);
  };

  // Runs each part; one that breaks does not hide the others.
  parts = async (parts, client) => {
    for (const part of parts) {
      try {
        await part(client);
      } catch (error) {
        await this.check(`${part.name} runs to its end`, `${error}`, true);
      }
    }
  };

  end = () => {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exitCode = this.failed ? 1 : 0;
  };
}

// Waits until `condition` holds, ten seconds at most.
async function until(condition) {
  const deadline = Date.now() + 10000;
  while (Date.now() < deadline) {
    if (await condition()) return true;
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
  return false;
}

module.exports = { Checks, until };
