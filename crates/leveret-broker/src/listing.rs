//! What the administration asks of a virtual host: what is there, whoever it belongs to.

use std::ops::Range;
use std::sync::Arc;

use crate::{KeptBinding, ListedExchange, Moves, Queue, Vhost};

/// Names looked at with the topology held: what publishers and declarations may have to wait for.
const NAMES_AT_ONCE: usize = 1024;

impl Vhost {
    /// The queue of that name, whoever owns it.
    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.topology().queues_by_name().get(name).cloned()
    }

    /// Whether that queue is there still.
    #[must_use]
    pub fn has_queue(&self, queue: &Queue) -> bool {
        self.topology().has(queue)
    }

    /// All exchanges.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ListedExchange> {
        self.topology().list_exchanges()
    }

    /// Those of the queues that stand there in the order of their names. What it costs depends on where the page is, and
    /// hardly on how many queues there are.
    #[must_use]
    pub fn queue_page(&self, range: Range<usize>) -> Vec<Arc<Queue>> {
        self.topology().queue_page(range)
    }

    /// The first queues whose names are accepted, so many at most, in the order of their names. They are asked about in runs,
    /// with nothing held up between two.
    pub fn queues_named(&self, most: usize, mut accepts: impl FnMut(&str) -> bool) -> Vec<Arc<Queue>> {
        let mut found = Vec::new();
        let mut last: Option<Arc<str>> = None;
        loop {
            let topology = self.topology();
            let mut names = topology.queue_names_after(last.as_deref());
            let mut reached = None;
            for name in names.by_ref().take(NAMES_AT_ONCE) {
                if found.len() < most && accepts(name) {
                    found.extend(topology.queues_by_name().get(name).cloned());
                }
                reached = Some(name);
            }
            let is_more = found.len() < most && names.next().is_some();
            let reached = reached.filter(|_| is_more).map(Arc::clone);
            drop(names);
            match reached {
                Some(reached) => last = Some(reached),
                None => return found,
            }
        }
    }

    /// What has happened to queues since this was last asked; nothing is noted before it is first asked.
    #[must_use]
    pub fn take_moved(&self) -> Moves {
        let mut moves = self.moved().take();
        let topology = self.topology();
        moves.moved.retain(|queue| topology.has(queue));
        moves
    }

    /// What has gone through those exchanges that anything has gone through: how much in, how much out.
    #[must_use]
    pub fn exchange_traffic(&self) -> Vec<(Arc<str>, (u64, u64))> {
        self.topology().exchange_traffic()
    }

    /// How many exchanges there are.
    #[must_use]
    pub fn exchange_count(&self) -> usize {
        self.topology().exchange_count()
    }

    /// All bindings, but for those of the default exchange, which nobody made.
    #[must_use]
    pub fn bindings(&self) -> Vec<KeptBinding> {
        self.topology().list_bindings()
    }

    /// The bindings that lead to a queue or, unless `to_queue`, to an exchange of that name.
    #[must_use]
    pub fn bindings_to(&self, name: &str, to_queue: bool) -> Vec<KeptBinding> {
        self.topology().bindings_to(name, to_queue)
    }
}
