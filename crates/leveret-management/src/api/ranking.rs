//! Queues in the order of a column in which all but busy ones are alike. Only busy ones are compared; the others stand in
//! the order of their names, before or after those, and only as many of them are looked at as are shown.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use leveret_broker::Vhost;
use rustc_hash::FxHashSet;

use crate::App;
use crate::json::queue::{Busyness, Listed, Shown};
use crate::list::cut;

/// The busy queues of some virtual hosts, whose values are more than those of the others, which are nothing.
pub(crate) struct Ranking<'a> {
    vhosts: &'a [Arc<Vhost>],
    busy: Vec<Busy>,
}

struct Busy {
    value: f64,
    /// Which of the virtual hosts it is in.
    vhost: usize,
    name: Arc<str>,
}

impl<'a> Ranking<'a> {
    /// The ranking by that column, where it is one of those.
    pub(crate) fn of(app: &App, vhosts: &'a [Arc<Vhost>], shown: &Shown, column: &str) -> Option<Self> {
        let busyness = shown.busyness(column)?;
        let of_vhost = |(at, vhost): (usize, &Arc<Vhost>)| {
            let values = match busyness {
                Busyness::Share(of) => {
                    let shares = app.statistics.shares(vhost, app.node.now(), of).into_iter();
                    shares.map(|(value, name)| (value as f64, name)).collect()
                }
                Busyness::Rate => rates(app, vhost, shown, column),
            };
            values.into_iter().map(move |(value, name)| Busy { value, vhost: at, name })
        };
        Some(Self { vhosts, busy: vhosts.iter().enumerate().flat_map(of_vhost).collect() })
    }

    /// Those that stand there, of so many in all.
    pub(crate) fn page(self, (range, total): (Range<usize>, usize), reverse: bool) -> Vec<Listed> {
        let busy = self.busy.len().min(total);
        // Who is busy comes last, or first.
        let (first, last) =
            if reverse { (0..busy, busy..total) } else { (total - busy..total, 0..total - busy) };
        let resting = self.resting(overlap(&range, &last));
        let mut rows = self.compared(overlap(&range, &first), reverse);
        if reverse {
            rows.extend(resting);
            return rows;
        }
        resting.into_iter().chain(rows).collect()
    }

    fn compared(self, range: Range<usize>, reverse: bool) -> Vec<Listed> {
        let order = |a: &Busy, b: &Busy| {
            let by_value = a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
            let by_value = if reverse { by_value.reverse() } else { by_value };
            by_value.then_with(|| (a.vhost, &a.name).cmp(&(b.vhost, &b.name)))
        };
        let shown = cut(self.busy, range, order).into_iter();
        let find = |it: Busy| {
            let vhost = &self.vhosts[it.vhost];
            Some(Listed { vhost: Arc::clone(vhost), queue: vhost.find_queue(&it.name)? })
        };
        shown.filter_map(find).collect()
    }

    /// Those that stand there among the others.
    fn resting(&self, range: Range<usize>) -> Vec<Listed> {
        let busy: FxHashSet<(usize, &str)> = self.busy.iter().map(|it| (it.vhost, &*it.name)).collect();
        let mut rows = Vec::with_capacity(range.len());
        let mut seen = 0;
        for (at, vhost) in self.vhosts.iter().enumerate() {
            let queues = vhost.queues_named(range.len() - rows.len(), |name| {
                let is_resting = !busy.contains(&(at, name));
                let is_shown = is_resting && range.contains(&seen);
                seen += usize::from(is_resting);
                is_shown
            });
            rows.extend(queues.into_iter().map(|queue| Listed { vhost: Arc::clone(vhost), queue }));
        }
        rows
    }
}

/// The part of a range that is in one of two that follow each other, counted from the beginning of that.
fn overlap(range: &Range<usize>, part: &Range<usize>) -> Range<usize> {
    let start = range.start.clamp(part.start, part.end) - part.start;
    start..(range.end.clamp(part.start, part.end) - part.start).max(start)
}

fn rates(app: &App, vhost: &Arc<Vhost>, shown: &Shown, column: &str) -> Vec<(f64, Arc<str>)> {
    let rate = |name: Arc<str>| {
        let listed = Listed { vhost: Arc::clone(vhost), queue: vhost.find_queue(&name)? };
        let rate = shown.sort_value(&listed, column).as_f64()?;
        (rate > 0.0).then_some((rate, name))
    };
    app.statistics.moving(&vhost.name).into_iter().filter_map(rate).collect()
}
