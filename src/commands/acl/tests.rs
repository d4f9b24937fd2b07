use super::*;

#[test]
fn default_user_is_unrestricted() {
    assert!(User::default_user().is_unrestricted());
}
