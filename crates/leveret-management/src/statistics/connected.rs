//! Samples of connections and channels: the last two of each, and the past of some.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use leveret_broker::{Channel, Connection, MessageTotals, Owner, Time};
use rustc_hash::FxHashMap;

use super::past::Past;

/// Bytes at one moment: received and sent.
pub(crate) type Traffic = (u64, u64);

#[derive(Default)]
pub(crate) struct Connected {
    connections: FxHashMap<Owner, OfConnection>,
    /// Of all connections, those that have ended too.
    total: Traffic,
    pasts: Pasts,
}

/// How connections and channels were.
#[derive(Default)]
struct Pasts {
    connections: Past<Owner, (), Traffic>,
    channels: Past<Owner, u16, MessageTotals>,
}

struct OfConnection {
    at: Time,
    traffic: [Traffic; 2],
    channels: FxHashMap<u16, OfChannel>,
}

struct OfChannel {
    /// Which it is: another may have its number after it.
    of: Weak<Channel>,
    at: Time,
    counts: [MessageTotals; 2],
}

impl Connected {
    /// Looks at all that are open, in the order in which they were opened. Returns what has come in and gone out since the last time, by
    /// virtual host.
    pub(crate) fn sample(&mut self, open: &[Arc<Connection>], now: Time) -> FxHashMap<Arc<str>, Traffic> {
        let is_open = |id: &Owner| open.binary_search_by_key(&id.0, |connection| connection.id.0).is_ok();
        self.pasts.connections.begin(now, is_open);
        self.pasts.channels.begin(now, is_open);
        let mut moved: FxHashMap<Arc<str>, Traffic> = FxHashMap::default();
        for connection in open {
            let (received, sent) = self.sample_connection(connection, now);
            if (received, sent) != (0, 0) {
                let of_vhost = moved.entry(Arc::clone(&connection.options.vhost)).or_default();
                *of_vhost = (of_vhost.0 + received, of_vhost.1 + sent);
            }
        }
        self.connections.retain(|_, it| it.at == now);
        self.total = moved.values().fold(self.total, |sum, it| (sum.0 + it.0, sum.1 + it.1));
        moved
    }

    /// What has come in and gone out since the last time.
    fn sample_connection(&mut self, connection: &Connection, now: Time) -> Traffic {
        let traffic = traffic(connection);
        let old = self.connections.get(&connection.id).map_or((0, 0), |it| it.traffic[0]);
        let it = self.connections.entry(connection.id).or_insert_with(|| OfConnection {
            at: now,
            traffic: [traffic; 2],
            channels: FxHashMap::default(),
        });
        it.at = now;
        it.traffic = [traffic, it.traffic[0]];
        if traffic != old {
            self.pasts.connections.note((&connection.id, &()), now, traffic);
        }
        for channel in connection.channels() {
            sample_channel(&mut it.channels, (connection.id, &channel), now, &mut self.pasts.channels);
        }
        let before = it.channels.len();
        it.channels.retain(|_, channel| channel.at == now);
        if it.channels.len() < before {
            self.pasts.channels.remove_others(&connection.id, |number| it.channels.contains_key(number));
        }
        (traffic.0.saturating_sub(old.0), traffic.1.saturating_sub(old.1))
    }

    /// What has come in and gone out since the first sample.
    pub(crate) fn total(&self) -> Traffic {
        self.total
    }

    /// What a connection had received and sent at the last sample and the one before.
    pub(crate) fn traffic(&self, id: Owner) -> Option<[Traffic; 2]> {
        self.connections.get(&id).map(|connection| connection.traffic)
    }

    pub(crate) fn channel(&self, id: Owner, number: u16) -> Option<[MessageTotals; 2]> {
        self.connections.get(&id)?.channels.get(&number).map(|channel| channel.counts)
    }

    /// How a connection was, the oldest sample first.
    pub(crate) fn past_of_connection(&self, id: Owner) -> Option<&VecDeque<(Time, Traffic)>> {
        self.pasts.connections.of(&id, &())
    }

    /// How a channel was, the oldest sample first.
    pub(crate) fn past_of_channel(&self, id: Owner, number: u16) -> Option<&VecDeque<(Time, MessageTotals)>> {
        self.pasts.channels.of(&id, &number)
    }

    pub(crate) fn look_at_connection(&mut self, connection: &Connection, now: Time) {
        self.pasts.connections.look((&connection.id, &()), now, (now, traffic(connection)));
    }

    pub(crate) fn look_at_channel(&mut self, id: Owner, channel: &Channel, now: Time) {
        self.pasts.channels.look((&id, &channel.number), now, (now, channel.counts.totals()));
    }
}

fn traffic(connection: &Connection) -> Traffic {
    (connection.received_bytes.value(), connection.sent_bytes.value())
}

fn sample_channel(
    channels: &mut FxHashMap<u16, OfChannel>,
    (id, channel): (Owner, &Arc<Channel>),
    now: Time,
    past: &mut Past<Owner, u16, MessageTotals>,
) {
    let counts = channel.counts.totals();
    let known = channels.get(&channel.number);
    let known = known.filter(|it| std::ptr::eq(it.of.as_ptr(), Arc::as_ptr(channel)));
    if known.is_none() {
        past.remove(&id, &channel.number);
    }
    let before = known.map_or(counts, |it| it.counts[0]);
    if counts != known.map_or(MessageTotals::default(), |it| it.counts[0]) {
        past.note((&id, &channel.number), now, counts);
    }
    let it = OfChannel { of: Arc::downgrade(channel), at: now, counts: [counts, before] };
    channels.insert(channel.number, it);
}

#[cfg(test)]
mod tests {
    use leveret_broker::{ConnectionOptions, Connections};

    use super::*;

    /// Who is connected, and what is sampled of them, once a second.
    #[derive(Default)]
    struct Rig {
        connections: Connections,
        connected: Connected,
        at: u64,
    }

    impl Rig {
        fn open(&self, number: u64) -> Arc<Connection> {
            let options = ConnectionOptions { vhost: "/".into(), ..ConnectionOptions::default() };
            self.connections.open(Owner(number), options)
        }

        /// What has come in and gone out in the second before.
        fn second(&mut self) -> Traffic {
            self.at += 1;
            let moved = self.connected.sample(&self.connections.list(), Time(self.at * 1_000_000));
            moved.get("/").copied().unwrap_or_default()
        }

        /// How many samples are kept of a connection.
        fn kept(&self, number: u64) -> usize {
            self.connected.past_of_connection(Owner(number)).map_or(0, VecDeque::len)
        }

        fn published(&self, number: u16) -> Vec<u64> {
            let past = self.connected.past_of_channel(Owner(1), number).into_iter().flatten();
            past.map(|(_, counts)| counts.publish).collect()
        }
    }

    #[test]
    fn a_virtual_host_has_moved_what_its_connections_have() {
        let mut rig = Rig::default();
        let (one, other) = (rig.open(1), rig.open(2));
        one.received_bytes.add(10);
        assert_eq!(rig.second(), (10, 0));
        one.received_bytes.add(5);
        other.sent_bytes.add(7);
        assert_eq!(rig.second(), (5, 7));
        rig.connections.close(&one);
        assert_eq!(rig.second(), (0, 0));
        assert_eq!(rig.connected.total(), (15, 7), "what was is not forgotten with whose it was");
    }

    #[test]
    fn nothing_is_kept_of_what_does_not_move_or_is_gone() {
        let mut rig = Rig::default();
        let (still, busy) = (rig.open(1), rig.open(2));
        for _ in 0..100 {
            busy.received_bytes.add(1);
            rig.second();
        }
        assert_eq!(rig.kept(1), 0);
        assert!((20..25).contains(&rig.kept(2)), "one in five seconds");
        rig.connections.close(&busy);
        rig.connections.close(&still);
        rig.second();
        assert_eq!((rig.kept(2), rig.connected.connections.len()), (0, 0));
    }

    #[test]
    fn another_channel_of_a_number_has_a_past_of_its_own() {
        let mut rig = Rig::default();
        let connection = rig.open(1);
        rig.second();
        rig.connections.open_channel(&connection, 1).counts.publish.add(3);
        rig.second();
        assert_eq!(rig.published(1), [0, 3]);
        rig.connections.close_channel(&connection, 1);
        rig.connections.open_channel(&connection, 1).counts.publish.add(5);
        rig.second();
        assert_eq!(rig.published(1), [0, 5]);
        assert_eq!(
            rig.connected.channel(Owner(1), 1).map(|counts| counts[1].publish),
            Some(5),
            "no rate yet"
        );
        rig.connections.close_channel(&connection, 1);
        rig.second();
        assert_eq!(rig.published(1), [0; 0]);
    }

    #[test]
    fn many_connections_have_a_bound_and_who_looks_is_served_first() {
        let mut rig = Rig::default();
        let all: Vec<_> = (0..2000).map(|number| rig.open(number)).collect();
        let move_all = |rig: &mut Rig| {
            all.iter().for_each(|connection| connection.received_bytes.add(1));
            rig.second();
        };
        (0..3).for_each(|_| move_all(&mut rig));
        let kept = |rig: &Rig| (0..2000).filter(|number| rig.kept(*number) > 0).count();
        assert_eq!(kept(&rig), 500);
        let late = (0..2000).rev().find(|number| rig.kept(*number) == 0).expect("one without a past");
        rig.connected
            .look_at_connection(&all[usize::try_from(late).expect("small")], Time(rig.at * 1_000_000));
        move_all(&mut rig);
        assert!(rig.kept(late) > 0 && kept(&rig) <= 500);
    }
}
