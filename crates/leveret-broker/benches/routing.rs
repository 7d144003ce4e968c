//! What it costs to find the way of a message, and to change one binding, with many bindings: the time must follow what
//! matches, not what there is.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use leveret_amqp::{FieldTable, Properties};
use leveret_broker::{BindingName, Broker, Client, Effects, ExchangeOptions, QueueOptions, Users, Vhost};

struct House {
    vhost: Arc<Vhost>,
    client: Client,
    arguments: FieldTable,
    _broker: Broker,
}

impl House {
    /// An exchange `x`, and so many queues `q-0`, `q-1`, … bound to it with the keys that `key` makes.
    fn new(kind: &str, queues: usize, bindings: usize, key: impl Fn(usize) -> String) -> Self {
        let broker = Broker::new(Users::new(vec![]));
        let vhost = broker.add_vhost("/").unwrap();
        let client = Client::broker();
        let options = ExchangeOptions { kind: kind.into(), ..ExchangeOptions::default() };
        vhost.declare_exchange("x", options, &client).unwrap();
        for n in 0..queues {
            let options = QueueOptions::default();
            vhost.declare_queue(&format!("q-{n}"), options, &client, &mut Effects::default()).unwrap();
        }
        let house = Self { vhost, client, arguments: FieldTable::default(), _broker: broker };
        for n in 0..bindings {
            house.vhost.bind(house.binding(&format!("q-{}", n % queues), &key(n)), &house.client).unwrap();
        }
        house
    }

    fn binding<'a>(&'a self, queue: &'a str, key: &'a str) -> BindingName<'a> {
        BindingName { source: "x", destination: queue, to_queue: true, key, arguments: &self.arguments }
    }

    fn route(&self, key: &str) -> usize {
        let (routing, _) = self.vhost.route(("x", key), &Properties::default(), &self.client).unwrap();
        routing.route.queues.len()
    }
}

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route/fanout");
    for queues in [10, 1000] {
        let house = House::new("fanout", queues, queues, |_| String::new());
        group.bench_function(BenchmarkId::from_parameter(queues), |bencher| {
            bencher.iter(|| assert_eq!(black_box(house.route("")), queues));
        });
    }
}

fn topic(criterion: &mut Criterion) {
    let key = |n: usize| match n % 4 {
        0 => format!("device.{n}.#"),
        1 => format!("device.{n}.*.temperature"),
        2 => format!("*.{n}.state"),
        _ => format!("device.{n}"),
    };
    let mut route = criterion.benchmark_group("route/topic bindings");
    for bindings in [100, 100_000] {
        let house = House::new("topic", 100, bindings, key);
        route.bench_function(BenchmarkId::from_parameter(bindings), |bencher| {
            bencher.iter(|| assert_eq!(black_box(house.route("device.64.room.temperature")), 1));
        });
    }
    drop(route);
    let mut change = criterion.benchmark_group("bind and unbind/topic bindings");
    for bindings in [100, 100_000] {
        let house = House::new("topic", 1, bindings, key);
        let one = house.binding("q-0", "device.64.#");
        change.bench_function(BenchmarkId::from_parameter(bindings), |bencher| {
            bencher.iter(|| {
                house.vhost.unbind(one, &house.client).unwrap();
                house.vhost.bind(one, &house.client).unwrap();
            });
        });
    }
}

criterion_group!(benches, fanout, topic);
criterion_main!(benches);
