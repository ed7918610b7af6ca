//! The library as a whole.
use crate::error::{text, Result};
use crate::handle::{string, text_from};
use capsa_sys::*;

/// The version of the library that runs, `"0.1.0"`.
pub fn version() -> String {
    // SAFETY: static memory.
    unsafe { text(capsa_version_string()) }
}

/// Whether this library knows a feature, such as `"kvm"` or `"disk"`. Whether it works here is [`doctor`]'s matter.
pub fn has(feature: &str) -> bool {
    // SAFETY: the text is terminated and lives during the call.
    string("the feature", feature).is_ok_and(|f| unsafe { capsa_has(f.as_ptr()) } != 0)
}

/// Examines the host: JSON that says for each backend whether it works here, why not, and what to do about it.
pub fn doctor() -> Result<String> {
    // SAFETY: both places are valid during the call.
    text_from(|out, e| unsafe { capsa_doctor(out, e) })
}

/// The counters of all machines of the process, in the text format of Prometheus.
pub fn metrics() -> Result<String> {
    // SAFETY: both places are valid during the call.
    text_from(|out, e| unsafe { capsa_metrics(out, e) })
}
