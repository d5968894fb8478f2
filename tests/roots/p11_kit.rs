//! Red Hat's and Arch's families against the real p11-kit.

use crate::support::roots::Base;

#[test]
#[ignore = "needs root and real root file systems"]
fn made() {
    Base::RedHat.kept();
    Base::Arch.kept();
}
