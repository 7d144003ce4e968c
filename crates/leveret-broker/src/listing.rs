//! What the administration asks of a virtual host: what is there, whoever it belongs to.

use std::ops::Range;
use std::sync::Arc;

use crate::{KeptBinding, ListedExchange, Moves, Queue, Vhost};

impl Vhost {
    /// The queue of that name, whoever owns it.
    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.topology().queues_by_name().get(name).cloned()
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
