//! What is declared, as lists for the administration.

use std::ops::{Bound, Range};
use std::sync::Arc;

use leveret_amqp::Table;

use super::{ExchangeCounts, Inbound, Topology};
use crate::{Applied, DelayedExchange, ExchangeOptions, KeptBinding, Queue};

/// An exchange as it is listed.
#[derive(Clone)]
pub struct ListedExchange {
    /// Its name; empty for the default one.
    pub name: Arc<str>,
    /// What it was declared with.
    pub options: ExchangeOptions,
    /// What it holds back, where it is of type `x-delayed-message`.
    pub delayed: Option<Arc<DelayedExchange>>,
    /// What has gone through it.
    pub counts: Arc<ExchangeCounts>,
    /// The policies that apply to it.
    pub applied: Applied,
}

impl Topology {
    pub(crate) fn list_exchanges(&self) -> Vec<ListedExchange> {
        let listed = self.exchanges.values().map(|exchange| ListedExchange {
            name: Arc::clone(&exchange.name),
            options: exchange.options.clone(),
            delayed: exchange.delayed.clone(),
            counts: Arc::clone(&exchange.counts),
            applied: exchange.applied.clone(),
        });
        listed.collect()
    }

    /// Those of the queues that stand there in the order of their names.
    pub(crate) fn queue_page(&self, range: Range<usize>) -> Vec<Arc<Queue>> {
        let names = self.queue_names.iter().skip(range.start).take(range.len());
        names.filter_map(|name| self.queues.get(name).cloned()).collect()
    }

    /// Names of queues in their order, from after that one on.
    pub(crate) fn queue_names_after(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<str>> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.queue_names.range::<str, _>((start, Bound::Unbounded))
    }

    /// What has gone through exchanges, in and out, those left out that nothing has gone through.
    pub(crate) fn exchange_traffic(&self) -> Vec<(Arc<str>, (u64, u64))> {
        let all = self.exchanges.values().map(|exchange| {
            let counts = &exchange.counts;
            (&exchange.name, (counts.published_in(), counts.published_out()))
        });
        all.filter(|(_, traffic)| *traffic != (0, 0))
            .map(|(name, traffic)| (Arc::clone(name), traffic))
            .collect()
    }

    pub(crate) fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// All bindings, but for those of the default exchange, which nobody made.
    pub(crate) fn list_bindings(&self) -> Vec<KeptBinding> {
        let ends = self.inbound.iter();
        ends.flat_map(|((to_queue, name), all)| all.iter().map(move |it| listed(it, *to_queue, name)))
            .collect()
    }

    /// Those that lead to a queue or to an exchange of that name.
    pub(crate) fn bindings_to(&self, name: &str, to_queue: bool) -> Vec<KeptBinding> {
        let end = (to_queue, Arc::<str>::from(name));
        let inbound = self.inbound.get(&end).into_iter().flatten();
        inbound.map(|it| listed(it, to_queue, &end.1)).collect()
    }
}

fn listed(inbound: &Inbound, to_queue: bool, destination: &Arc<str>) -> KeptBinding {
    KeptBinding {
        source: Arc::clone(&inbound.source),
        destination: Arc::clone(destination),
        to_queue,
        key: Arc::clone(&inbound.key),
        arguments: Table::parse(&inbound.arguments).unwrap_or_default().to_owned(),
    }
}
