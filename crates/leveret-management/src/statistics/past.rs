//! How things were: samples over the last minutes, and what they come to at moments that somebody asks for.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;

use leveret_broker::Time;
use rustc_hash::FxHashMap;

/// How long samples of an object are kept, in microseconds: ten minutes.
const KEPT_US: u64 = 600_000_000;
/// Of each object there is a sample for so many microseconds at most, the last of them.
const STEP_US: u64 = 5_000_000;

/// Moments that are asked for, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) step_ms: u64,
}

impl Range {
    /// What was sampled last at each of these moments, the newest first; those before the first sample are left out.
    pub(crate) fn of<T>(self, samples: &VecDeque<T>, at: impl Fn(&T) -> Time) -> Vec<(u64, &T)> {
        let mut moments = Vec::new();
        let mut at_ms = self.last_ms;
        let mut before = samples.len();
        while at_ms >= self.first_ms {
            while before > 0 && at(&samples[before - 1]).0 / 1000 > at_ms {
                before -= 1;
            }
            let Some(last) = before.checked_sub(1) else { break };
            moments.push((at_ms, &samples[last]));
            let Some(earlier) = at_ms.checked_sub(self.step_ms) else { break };
            at_ms = earlier;
        }
        moments
    }
}

/// Most objects of a kind whose past is kept. With those of a virtual host, the largest, each takes up to 20 kB.
const MOST: usize = 500;

/// The past of the objects of a kind: of those that have changed lately and those that somebody has looked at, as far as there is room.
/// They are found by what they are in and what they are called there: `G` and `K` are a virtual host and a name for one, a connection
/// and a number for another, and `()` where there is one in each.
pub(crate) struct Past<G, K, S> {
    lines: FxHashMap<G, FxHashMap<K, Line<S>>>,
    count: usize,
    /// Whether all that has changed since the first sample is there.
    is_whole: bool,
    /// When the first sample was taken, the one before the last, and the last.
    times: Option<[Time; 3]>,
}

/// The samples of an object, the oldest first. What stands still has no new ones.
struct Line<S> {
    samples: VecDeque<(Time, S)>,
    /// When somebody last looked at it.
    looked: Time,
}

impl<G, K, S> Default for Past<G, K, S> {
    fn default() -> Self {
        Self { lines: FxHashMap::default(), count: 0, is_whole: true, times: None }
    }
}

impl<G: Clone + Eq + Hash, K: Clone + Eq + Hash, S: Copy + Default + PartialEq> Past<G, K, S> {
    /// A new sample is taken, of what is in those that are there.
    pub(crate) fn begin(&mut self, now: Time, is_there: impl Fn(&G) -> bool) {
        self.times = Some(self.times.map_or([now; 3], |[first, _, last]| [first, last, now]));
        self.lines.retain(|group, _| is_there(group));
        if self.count == MOST {
            self.retain(|line| line.is_recent(now));
        }
        self.count = self.lines.values().map(FxHashMap::len).sum();
    }

    /// How an object is now that has changed.
    pub(crate) fn note(&mut self, (group, key): (&G, &K), at: Time, sample: S) {
        if let Some(line) = self.lines.get_mut(group).and_then(|lines| lines.get_mut(key)) {
            return line.note(at, sample);
        }
        if sample == S::default() {
            return;
        }
        if self.count == MOST {
            self.is_whole = false;
            return;
        }
        let before = self.times.map_or(at, |[_, before, _]| before);
        // It was as nothing until now, or this would not be its first change.
        let was = (self.is_whole && before < at).then_some((before, S::default()));
        self.add((group, key), was.into_iter().chain([(at, sample)]).collect(), Time(0));
    }

    /// Somebody looks at an object, which is reason to keep its past from now on. It has not changed since then.
    pub(crate) fn look(&mut self, (group, key): (&G, &K), now: Time, (since, sample): (Time, S)) {
        if let Some(line) = self.lines.get_mut(group).and_then(|lines| lines.get_mut(key)) {
            line.looked = now;
            return;
        }
        // It was as nothing at the last sample, or it would be there.
        let first = self.times.filter(|_| self.is_whole).map(|[first, ..]| (first, S::default()));
        let known = first.into_iter().chain([(since, sample)]).collect();
        if self.count == MOST {
            self.drop_least();
        }
        self.add((group, key), known, now);
    }

    fn add(&mut self, (group, key): (&G, &K), samples: VecDeque<(Time, S)>, looked: Time) {
        let lines = self.lines.entry(group.clone()).or_default();
        lines.insert(key.clone(), Line { samples, looked });
        self.count += 1;
    }

    fn drop_least(&mut self) {
        let ranks = self.lines.values().flat_map(|lines| lines.values().map(Line::rank));
        if let Some(least) = ranks.min() {
            self.retain(|line| line.rank() > least);
        }
    }

    fn retain(&mut self, is_kept: impl Fn(&Line<S>) -> bool) {
        self.lines.values_mut().for_each(|lines| lines.retain(|_, line| is_kept(line)));
        let count = self.lines.values().map(FxHashMap::len).sum();
        self.is_whole &= count == self.count;
        self.count = count;
    }

    /// It is gone; another may come by its name.
    pub(crate) fn remove<H, L>(&mut self, group: &H, key: &L)
    where
        G: Borrow<H>,
        K: Borrow<L>,
        H: Eq + Hash + ?Sized,
        L: Eq + Hash + ?Sized,
    {
        if self.lines.get_mut(group).is_some_and(|lines| lines.remove(key).is_some()) {
            self.count -= 1;
        }
    }

    /// All in that are gone but those.
    pub(crate) fn remove_others(&mut self, group: &G, is_there: impl Fn(&K) -> bool) {
        if let Some(lines) = self.lines.get_mut(group) {
            let before = lines.len();
            lines.retain(|key, _| is_there(key));
            self.count -= before - lines.len();
        }
    }

    /// The samples of an object, the oldest first.
    pub(crate) fn of<H, L>(&self, group: &H, key: &L) -> Option<&VecDeque<(Time, S)>>
    where
        G: Borrow<H>,
        K: Borrow<L>,
        H: Eq + Hash + ?Sized,
        L: Eq + Hash + ?Sized,
    {
        Some(&self.lines.get(group)?.get(key)?.samples)
    }
}

impl<S> Line<S> {
    fn note(&mut self, at: Time, sample: S) {
        let is_first = self.samples.len() == 1;
        match self.samples.back_mut() {
            // But for the first, which may be all that tells how it was before.
            Some(last) if last.0.0 / STEP_US == at.0 / STEP_US && !is_first => {
                *last = (at, sample);
            }
            _ => self.samples.push_back((at, sample)),
        }
        // An older one tells how it was until the next.
        while self.samples.get(1).is_some_and(|(next, _)| at.0.saturating_sub(next.0) > KEPT_US) {
            self.samples.pop_front();
        }
    }

    /// Lines are kept for those who look at them, then for what has changed last.
    fn rank(&self) -> (Time, Time) {
        (self.looked, self.samples.back().map_or(Time(0), |(at, _)| *at))
    }

    fn is_recent(&self, now: Time) -> bool {
        let (looked, changed) = self.rank();
        [looked, changed].iter().any(|at| now.0.saturating_sub(at.0) <= KEPT_US)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: u64 = 1_000_000;

    /// What is sampled once a second, and looked at every five.
    struct Rig {
        past: Past<Arc<str>, Arc<str>, u64>,
        at: u64,
    }

    impl Rig {
        fn new() -> Self {
            Self { past: Past::default(), at: 1_000_000 }
        }

        fn second(&mut self, changes: &[(&str, u64)]) {
            self.at += 1;
            let now = Time(self.at * SECOND);
            self.past.begin(now, |_| true);
            for (name, value) in changes {
                self.past.note((&"/".into(), &(*name).into()), now, *value);
            }
        }

        fn look(&mut self, name: &str, since: u64, value: u64) {
            let now = Time(self.at * SECOND);
            self.past.look((&"/".into(), &name.into()), now, (Time(since * SECOND), value));
        }

        /// The values at the last moments of so many that are told, the newest first.
        fn values(&self, name: &str, age: u64) -> Vec<u64> {
            let last_ms = self.at / 5 * 5 * 1000;
            let range = Range { first_ms: last_ms - age * 1000, last_ms, step_ms: 5000 };
            let samples = self.past.of("/", name);
            let samples = samples.into_iter().flat_map(|samples| range.of(samples, |sample| sample.0));
            samples.map(|(_, sample)| sample.1).collect()
        }
    }

    #[test]
    fn what_has_changed_is_told_as_it_was_at_each_moment() {
        let mut rig = Rig::new();
        for second in 0..20 {
            rig.second(if second == 7 { &[("a", 3), ("b", 1)] } else { &[] });
        }
        assert_eq!(rig.values("a", 10), [3, 3, 3]);
        assert_eq!(rig.values("a", 60), [3, 3, 3], "before the first sample nothing is known");
        rig.second(&[("a", 9)]);
        (0..10).for_each(|_| rig.second(&[]));
        assert_eq!(rig.values("a", 20), [9, 9, 3, 3, 3]);
        assert_eq!(rig.values("none", 20), Vec::<u64>::new());
    }

    #[test]
    fn what_comes_first_has_grown_from_nothing() {
        let mut rig = Rig::new();
        (0..9).for_each(|_| rig.second(&[]));
        rig.second(&[("a", 3)]);
        assert_eq!(rig.values("a", 5), [3]);
        rig.look("still", 1_000_005, 0);
        rig.look("moves", rig.at, 5);
        (0..5).for_each(|_| rig.second(&[]));
        assert_eq!(rig.values("still", 10), [0, 0, 0]);
        assert_eq!(rig.values("moves", 10), [5, 5, 0]);
    }

    #[test]
    fn an_object_has_a_bound_of_samples() {
        let mut rig = Rig::new();
        for value in 1..3000 {
            rig.second(&[("a", value)]);
        }
        assert!(rig.past.of("/", "a").expect("it is kept").len() <= 122);
        assert_eq!(rig.values("a", 600).len(), 121);
    }

    #[test]
    fn there_is_a_bound_to_objects_and_who_looks_is_served_first() {
        let mut rig = Rig::new();
        let names: Vec<String> = (0..2 * MOST).map(|number| format!("q{number}")).collect();
        for value in 1..10 {
            let all: Vec<_> = names.iter().map(|name| (name.as_str(), value)).collect();
            rig.second(&all);
        }
        assert_eq!(rig.past.count, MOST);
        let late = names.last().expect("the last");
        assert!(rig.past.of("/", &**late).is_none());
        rig.look(late, rig.at, 9);
        rig.second(&[(late, 10)]);
        assert!(rig.past.of("/", &**late).is_some() && rig.past.count <= MOST);
        // What has stood still for long makes room.
        (0..700).for_each(|_| rig.second(&[]));
        rig.second(&[("new", 1)]);
        assert!(rig.past.of("/", "new").is_some());
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut rig = Rig::new();
        rig.second(&[("a", 1), ("b", 1)]);
        rig.past.remove("/", "a");
        rig.past.remove("/", "a");
        rig.past.remove_others(&"/".into(), |_| false);
        assert_eq!((rig.past.count, rig.past.of("/", "b")), (0, None));
        rig.second(&[("a", 2)]);
        rig.past.begin(Time(u64::MAX), |_| false);
        assert_eq!((rig.past.count, rig.past.of("/", "a")), (0, None));
    }
}
