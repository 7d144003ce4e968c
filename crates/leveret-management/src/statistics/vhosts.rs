//! Samples of virtual hosts: the last two of each, and their past.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use leveret_broker::{MessageTotals, Time, Vhost};
use rustc_hash::FxHashMap;

use super::QueueTotals;
use super::connected::Traffic;
use super::past::Past;

/// A virtual host at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VhostSample {
    pub(crate) queues: QueueTotals,
    pub(crate) messages: MessageTotals,
    /// Of its connections, those that have ended too.
    pub(crate) traffic: Traffic,
}

#[derive(Default)]
pub(crate) struct Vhosts {
    last: FxHashMap<Arc<str>, OfVhost>,
    past: Past<Arc<str>, (), VhostSample>,
}

struct OfVhost {
    /// Which it is: another may have its name after it.
    of: Weak<Vhost>,
    at: Time,
    samples: [VhostSample; 2],
}

impl Vhosts {
    /// A new sample is taken of all that there are: of what they do `of` tells, and of their traffic what has come since the last.
    pub(crate) fn sample(
        &mut self,
        vhosts: &[Arc<Vhost>],
        now: Time,
        of: impl Fn(&Arc<str>) -> (QueueTotals, MessageTotals, Traffic),
    ) {
        self.past.begin(now, |name| vhosts.iter().any(|vhost| vhost.name == *name));
        for vhost in vhosts {
            let (queues, messages, moved) = of(&vhost.name);
            let known = self.last.get(&vhost.name);
            let known = known.filter(|it| std::ptr::eq(it.of.as_ptr(), Arc::as_ptr(vhost)));
            if known.is_none() {
                self.past.remove(&vhost.name, &());
            }
            let old = known.map(|it| it.samples[0]);
            let (received, sent) = old.unwrap_or_default().traffic;
            let sample = VhostSample { queues, messages, traffic: (received + moved.0, sent + moved.1) };
            if sample != old.unwrap_or_default() {
                self.past.note((&vhost.name, &()), now, sample);
            }
            let samples = [sample, old.unwrap_or(sample)];
            self.last
                .insert(Arc::clone(&vhost.name), OfVhost { of: Arc::downgrade(vhost), at: now, samples });
        }
        self.last.retain(|_, it| it.at == now);
    }

    /// The last samples, the newer first.
    pub(crate) fn last(&self, name: &str) -> Option<[VhostSample; 2]> {
        self.last.get(name).map(|it| it.samples)
    }

    /// How a virtual host was, the oldest sample first.
    pub(crate) fn past(&self, name: &str) -> Option<&VecDeque<(Time, VhostSample)>> {
        self.past.of(name, &())
    }

    /// Somebody looks at a virtual host: its past is kept from now on.
    pub(crate) fn look(&mut self, vhost: &Vhost, now: Time) {
        let known = self.last.get(&vhost.name).map_or_else(Default::default, |it| it.samples[0]);
        self.past.look((&vhost.name, &()), now, (now, known));
    }
}
