//! Devices and stations that were not let in or cut off for what they asked, told to whoever watches over the server.

use std::fmt;
use std::sync::OnceLock;

use onemap_model::{Refusal, Source};

/// Somebody was not let in. Of what was shown to come in nothing stands here.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'a> {
    /// The door.
    pub source: Source,
    /// Address, perhaps with its port.
    pub peer: &'a str,
    /// The station or device that it says it is; empty where it says nothing.
    pub device: &'a str,
    /// Why, by name.
    pub refusal: Refusal,
    /// The same in words; of what the peer chose at most names of devices and certificates.
    pub detail: &'a str,
}

type Hears = Box<dyn Fn(&Denial<'_>) + Send + Sync>;

/// Who hears of denials; nobody until it is set.
#[derive(Default)]
pub(crate) struct Ear(OnceLock<Hears>);

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() {
            "somebody hears"
        } else {
            "nobody hears"
        })
    }
}

impl Ear {
    /// Sets who hears; says whether nobody did before.
    pub(crate) fn set(&self, hears: Hears) -> bool {
        self.0.set(hears).is_ok()
    }

    pub(crate) fn tell(&self, denial: &Denial<'_>) {
        if let Some(hears) = self.0.get() {
            hears(denial);
        }
    }
}
