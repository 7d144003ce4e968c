//! Users, permissions, policies, limits and definitions in the core.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties};
use leveret_broker::{
    Access, BindingName, Broker, Client, Definitions, Effects, ErrorKind, ExchangeOptions, FirstUser,
    HashAlgorithm, Login, Operation, Owner, PasswordHash, Permission, Policy, PolicyKind, QueueOptions,
    Resource, TopicPermission, User, UserLimits, Users, Vhost, VhostLimits, VhostSettings,
};
use serde_json::{Value, json};

const FIRST: FirstUser<'_> = FirstUser { name: "guest", password: "guest", vhost: "/" };

fn broker() -> Broker {
    let broker = Broker::new(Users::new(vec!["guest".into()]));
    broker.begin(&FIRST, "test").unwrap();
    broker
}

fn user(name: &str, password: &str) -> User {
    User {
        name: name.into(),
        password: PasswordHash::of(password).unwrap(),
        tags: vec![],
        limits: UserLimits::default(),
    }
}

fn logs_in(broker: &Broker, name: &str, password: &str) -> bool {
    broker.users.admits(name, Login::Password(password), true)
}

/// A user of `/` with these permissions.
fn client(broker: &Broker, configure: &str, write: &str, read: &str) -> Client {
    broker.put_user(user("alice", "secret")).unwrap();
    broker.set_permission("alice", "/", Permission::new(configure, write, read).unwrap()).unwrap();
    Client { owner: Owner(7), ..Client::without_connection(broker.users.access("alice", "/").unwrap()) }
}

fn declare(vhost: &Vhost, name: &str, client: &Client) -> Result<(), leveret_broker::Error> {
    vhost.declare_queue(name, QueueOptions::default(), client, &mut Effects::default()).map(|_| ())
}

fn exchange(vhost: &Vhost, name: &str, kind: &str) {
    let options = ExchangeOptions { kind: kind.into(), ..ExchangeOptions::default() };
    vhost.declare_exchange(name, options, &Client::broker()).unwrap();
}

fn policy(pattern: &str, apply_to: &str, priority: i64, definition: &Value) -> Value {
    json!({"pattern": pattern, "apply-to": apply_to, "priority": priority, "definition": definition})
}

#[test]
fn passwords_are_kept_as_hashes_that_only_they_match() {
    let broker = broker();
    assert!(logs_in(&broker, "guest", "guest"));
    assert!(logs_in(&broker, "guest", "guest"), "a second time, from what is remembered");
    assert!(!logs_in(&broker, "guest", "Guest") && !logs_in(&broker, "nobody", "guest"));
    assert!(!broker.users.admits("guest", Login::Password("guest"), false), "only from this machine");
    let hash = broker.user("guest").unwrap().password;
    assert!(hash.as_str().starts_with("$argon2id$"), "{hash:?}");

    broker.put_user(user("guest", "other")).unwrap();
    assert!(!logs_in(&broker, "guest", "guest") && logs_in(&broker, "guest", "other"));
}

#[test]
fn an_empty_password_lets_nobody_in() {
    let broker = broker();
    broker.put_user(user("blank", "")).unwrap();
    broker.put_user(User { password: PasswordHash::default(), ..user("none", "x") }).unwrap();
    assert!(!logs_in(&broker, "blank", "") && !logs_in(&broker, "none", ""));
    assert!(broker.users.admits("none", Login::Certificate, true));
}

#[test]
fn hashes_of_rabbitmq_are_understood() {
    // Salt 90 8D C6 0A: the first is the example of RabbitMQ's documentation, the others the same with other digests.
    for (hash, algorithm) in [
        ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", HashAlgorithm::Sha256),
        (
            "kI3GChuNuIYf8lRbCCxZjgjKwsY19ns6+uFO0zcXRBGA/XGJPYD8OWMy7EB8TaOmAzjP2azv84GbINYwX2cDWb4DHnc=",
            HashAlgorithm::Sha512,
        ),
        ("kI3GChNpte2FApYFXScl+0dIluk=", HashAlgorithm::Md5),
    ] {
        let imported = PasswordHash::imported(hash, algorithm).unwrap();
        assert!(imported.matches("test12") && !imported.matches("test13"), "{algorithm:?}");
    }
    assert!(PasswordHash::imported("no base64!", HashAlgorithm::Sha256).is_err());
}

#[test]
fn a_new_broker_is_given_its_user_once() {
    let broker = Broker::new(Users::new(vec![]));
    assert!(broker.is_new());
    broker.begin(&FIRST, "test").unwrap();
    assert!(!broker.is_new());
    assert!(broker.delete_user("guest").unwrap());
    assert!(!broker.is_new() && broker.users.all().is_empty());
}

#[test]
fn permissions_are_searched_for_anywhere_and_an_empty_one_allows_nothing() {
    let broker = broker();
    let access = client(&broker, "^mine", "log", "").access;
    let check = |operation, resource| access.check(operation, resource).map_err(|error| error.text);
    assert_eq!(check(Operation::Configure, Resource::Queue("mine.1")), Ok(()));
    assert_eq!(check(Operation::Write, Resource::Exchange("my.logs")), Ok(()));
    for (operation, resource, object) in [
        (Operation::Configure, Resource::Queue("not.mine"), "queue 'not.mine'"),
        (Operation::Read, Resource::Queue("mine"), "queue 'mine'"),
        (Operation::Write, Resource::Exchange(""), "exchange 'amq.default'"),
    ] {
        let text = format!("access to {object} in vhost '/' refused for user 'alice'");
        assert_eq!(check(operation, resource), Err(text));
    }
}

#[test]
fn look_around_works_as_in_pcre() {
    let access = client(&broker(), "^(?!amq\\.).*", "", "").access;
    assert!(access.check(Operation::Configure, Resource::Queue("q")).is_ok());
    assert!(access.check(Operation::Configure, Resource::Queue("amq.q")).is_err());
    assert!(Permission::new("(", "", "").unwrap_err().text.contains("invalid regular expression '('"));
}

#[test]
fn topic_permissions_are_about_keys_and_fill_in_names() {
    let broker = broker();
    client(&broker, ".*", ".*", ".*");
    let permission = TopicPermission::new("^{username}\\.", "^{vhost}$").unwrap();
    assert!(broker.set_topic_permission(("alice", "/", "news"), permission).unwrap());
    let access = broker.users.access("alice", "/").unwrap();
    assert!(access.check_topic(Operation::Write, "news", "alice.1").is_ok());
    assert!(access.check_topic(Operation::Read, "news", "/").is_ok());
    assert!(access.check_topic(Operation::Write, "other", "bob.1").is_ok(), "nothing is said of this one");
    let refused = access.check_topic(Operation::Write, "news", "bob.1").unwrap_err();
    assert_eq!(
        refused.text,
        "access to topic 'bob.1' in exchange topic 'news' in vhost '/' refused for user 'alice'"
    );
    assert!(broker.clear_topic_permissions("alice", "/", None).unwrap());
    assert!(broker.users.access("alice", "/").unwrap().check_topic(Operation::Write, "news", "bob").is_ok());
}

#[test]
fn operations_ask_for_the_permissions_that_they_take() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    exchange(&vhost, "x", "topic");
    declare(&vhost, "q", &Client::broker()).unwrap();
    let none = FieldTable::default();
    let binding = BindingName { source: "x", destination: "q", to_queue: true, key: "k", arguments: &none };
    let route = |client: &Client| vhost.route(("x", "k"), &Properties::default(), client).map(|_| ());
    type Attempt<'a> =
        (&'a str, Box<dyn Fn(&Client) -> Result<(), leveret_broker::Error> + 'a>, [&'a str; 3]);
    let attempts: [Attempt<'_>; 7] = [
        ("declare", Box::new(|client| declare(&vhost, "q", client)), ["^q$", "", ""]),
        ("read", Box::new(|client| vhost.queue_to_read("q", client).map(|_| ())), ["", "", "^q$"]),
        ("bind", Box::new(|client| vhost.bind(binding, client)), ["", "^q$", "^x$"]),
        ("unbind", Box::new(|client| vhost.unbind(binding, client)), ["", "^q$", "^x$"]),
        ("publish", Box::new(route), ["", "^x$", ""]),
        (
            "delete exchange",
            Box::new(|client| vhost.delete_exchange("x", true, client).map(|_| ())),
            ["^x$", "", ""],
        ),
        (
            "delete",
            Box::new(|client| vhost.delete_queue("q", client, false, false).map(|_| ())),
            ["^q$", "", ""],
        ),
    ];
    for (name, attempt, [configure, write, read]) in &attempts {
        for lacking in 0..3 {
            let mut given = [*configure, *write, *read];
            if given[lacking].is_empty() {
                continue;
            }
            given[lacking] = "";
            let refused = attempt(&client(&broker, given[0], given[1], given[2])).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::AccessRefused, "{name}: {refused}");
        }
        assert_eq!(attempt(&client(&broker, configure, write, read)), Ok(()), "{name}");
    }
}

#[test]
fn where_messages_go_on_takes_permissions_too() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    let dead = QueueOptions {
        arguments: FieldTable::from_iter([("x-dead-letter-exchange", "dlx")]),
        ..QueueOptions::default()
    };
    let alternate = ExchangeOptions {
        kind: "fanout".into(),
        arguments: FieldTable::from_iter([("alternate-exchange", "ae")]),
        ..ExchangeOptions::default()
    };
    for (write, read, allowed) in [("dlx|ae", ".*", true), ("dlx|ae", "", false), ("", ".*", false)] {
        let client = client(&broker, ".*", write, read);
        let queue = vhost.declare_queue("q", dead.clone(), &client, &mut Effects::default());
        let exchange = vhost.declare_exchange("x", alternate.clone(), &client);
        assert_eq!((queue.is_ok(), exchange.is_ok()), (allowed, allowed), "write {write} read {read}");
        let _deleted = vhost.delete_queue("q", &client, false, false);
        let _deleted = vhost.delete_exchange("x", false, &client);
    }
}

#[test]
fn a_deleted_vhost_takes_everything_with_it() {
    let broker = broker();
    assert!(broker.put_vhost("other", VhostSettings::default()).unwrap());
    assert!(!broker.put_vhost("other", VhostSettings { tracing: true, ..VhostSettings::default() }).unwrap());
    let vhost = broker.vhost("other").unwrap();
    assert!(vhost.settings().tracing && vhost.check_exchange("amq.topic").is_ok());
    broker.set_permission("guest", "other", Permission::full().unwrap()).unwrap();
    declare(&vhost, "q", &Client::broker()).unwrap();

    assert!(broker.delete_vhost("other").unwrap());
    assert!(!broker.delete_vhost("other").unwrap());
    assert!(broker.vhost("other").is_none() && broker.users.access("guest", "other").is_none());
    assert!(vhost.queues().is_empty(), "whoever still holds it finds nothing");
    assert_eq!(declare(&vhost, "late", &Client::broker()).unwrap_err().kind, ErrorKind::NotAllowed);
}

#[test]
fn a_vhost_with_its_limit_of_queues_takes_no_more() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    vhost.set_limits(VhostLimits { max_queues: Some(1), max_connections: None }).unwrap();
    declare(&vhost, "q", &Client::broker()).unwrap();
    declare(&vhost, "q", &Client::broker()).unwrap();
    let refused = declare(&vhost, "r", &Client::broker()).unwrap_err();
    assert_eq!(refused.text, "cannot declare queue 'r': queue limit in vhost '/' (1) is reached");
    vhost.set_limits(VhostLimits::default()).unwrap();
    declare(&vhost, "r", &Client::broker()).unwrap();
}

#[test]
fn the_policy_of_the_highest_priority_applies_while_it_is_there() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    let effects = &mut Effects::default();
    declare(&vhost, "jobs.1", &Client::broker()).unwrap();
    let of = |name: &str| {
        let queue = vhost.find_queue(name).unwrap();
        let applied = queue.applied();
        let names = [applied.policy, applied.operator].map(|it| it.map(|policy| policy.name.clone()));
        (queue.rules().max_length, names)
    };
    let low = policy("^jobs", "queues", 0, &json!({"max-length": 10}));
    let high = policy("", "all", 1, &json!({"max-length": 20}));
    let limit = policy("", "queues", 0, &json!({"max-length": 15}));
    assert!(vhost.set_parameter("policy", "low", low, effects).unwrap());
    assert_eq!(of("jobs.1"), (Some(10), [Some("low".into()), None]));
    vhost.set_parameter("policy", "high", high, effects).unwrap();
    assert_eq!(of("jobs.1"), (Some(20), [Some("high".into()), None]));
    vhost.set_parameter("operator_policy", "limit", limit, effects).unwrap();
    declare(&vhost, "jobs.2", &Client::broker()).unwrap();
    for queue in ["jobs.1", "jobs.2"] {
        assert_eq!(of(queue), (Some(15), [Some("high".into()), Some("limit".into())]));
    }
    assert!(vhost.clear_policy(PolicyKind::Operator, "limit", effects).unwrap());
    assert!(vhost.clear_policy(PolicyKind::User, "high", effects).unwrap());
    assert_eq!(of("jobs.2"), (Some(10), [Some("low".into()), None]));
    assert!(!vhost.clear_policy(PolicyKind::User, "high", effects).unwrap());
}

#[test]
fn a_policy_is_for_what_it_says() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    exchange(&vhost, "x", "fanout");
    declare(&vhost, "q", &Client::broker()).unwrap();
    for (apply_to, to_queue, to_exchange) in [
        ("all", true, true),
        ("queues", true, false),
        ("classic_queues", true, false),
        ("quorum_queues", false, false),
        ("exchanges", false, true),
    ] {
        let value = policy("", apply_to, 0, &json!({"alternate-exchange": "ae", "max-length": 1}));
        vhost.set_parameter("policy", "p", value, &mut Effects::default()).unwrap();
        let queue = vhost.find_queue("q").unwrap().applied().policy.is_some();
        let exchange = vhost.exchange_policies("x").unwrap().policy.is_some();
        assert_eq!((queue, exchange), (to_queue, to_exchange), "{apply_to}");
    }
}

#[test]
fn an_alternate_exchange_may_come_from_a_policy() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    exchange(&vhost, "x", "direct");
    exchange(&vhost, "rest", "fanout");
    declare(&vhost, "q", &Client::broker()).unwrap();
    let none = FieldTable::default();
    let binding = BindingName { source: "rest", destination: "q", to_queue: true, key: "", arguments: &none };
    vhost.bind(binding, &Client::broker()).unwrap();
    let routes = || {
        let (routing, _) = vhost.route(("x", "k"), &Properties::default(), &Client::broker()).unwrap();
        routing.route.queues.len()
    };
    assert_eq!(routes(), 0);
    let value = policy("^x$", "exchanges", 0, &json!({"alternate-exchange": "rest"}));
    vhost.set_parameter("policy", "p", value, &mut Effects::default()).unwrap();
    assert_eq!(routes(), 1);
    vhost.clear_policy(PolicyKind::User, "p", &mut Effects::default()).unwrap();
    assert_eq!(routes(), 0);
}

#[test]
fn a_wrong_policy_is_refused_and_changes_nothing() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    for (value, named) in [
        (policy("(", "all", 0, &json!({"max-length": 1})), "invalid regular expression"),
        (policy("", "nobody", 0, &json!({"max-length": 1})), "nobody"),
        (policy("", "all", 0, &json!({"max-length": "many"})), "max-length"),
        (policy("", "all", 0, &json!({"colour": 1})), "colour"),
        (policy("", "all", 0, &json!({})), "policy"),
        (json!({"pattern": ""}), "definition"),
        (json!([]), "object"),
    ] {
        let refused = vhost.set_parameter("policy", "p", value, &mut Effects::default()).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::PreconditionFailed);
        assert!(refused.text.contains(named), "{named}: {refused}");
    }
    assert!(vhost.parameters().is_empty());
    let refused = Policy::from_json(
        "p",
        &policy("", "all", 0, &json!({"alternate-exchange": "x"})),
        PolicyKind::Operator,
    );
    assert!(refused.unwrap_err().text.contains("alternate-exchange"));
}

#[test]
fn a_protected_vhost_is_not_deleted() {
    let broker = broker();
    broker.put_vhost("other", VhostSettings::default()).unwrap();
    let before = broker.definitions();
    assert!(broker.protect_vhost("other", true).unwrap() && !broker.protect_vhost("none", true).unwrap());
    let is_refused = |broker: &Broker| {
        let refused = broker.delete_vhost("other").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::PreconditionFailed, "{refused}");
        declare(&broker.vhost("other").unwrap(), "q", &Client::broker()).unwrap();
    };
    is_refused(&broker);
    broker.import(&before, &mut Effects::default()).unwrap();
    is_refused(&broker);
    let exported = serde_json::to_value(broker.definitions()).unwrap();
    let of_other = exported["vhosts"].as_array().unwrap().iter().find(|it| it["name"] == "other").unwrap();
    assert_eq!(of_other["metadata"]["protected_from_deletion"], true);
    let another = self::broker();
    // As RabbitMQ exports it, which says so among the metadata alone.
    let theirs = json!({"vhosts": [{"name": "other", "metadata": of_other["metadata"]}]});
    another.import(&Definitions::from_json(theirs).unwrap(), &mut Effects::default()).unwrap();
    is_refused(&another);
    broker.protect_vhost("other", false).unwrap();
    assert!(broker.delete_vhost("other").unwrap());
}

#[test]
fn definitions_go_out_and_in_again() {
    let broker = broker();
    broker.put_user(User { tags: vec!["monitoring".into()], ..user("bob", "pw") }).unwrap();
    let vhost = broker.vhost("/").unwrap();
    exchange(&vhost, "x", "topic");
    let options = QueueOptions {
        durable: true,
        arguments: FieldTable::from_iter([("x-queue-type", "quorum")]),
        ..QueueOptions::default()
    };
    vhost.declare_queue("q", options, &Client::broker(), &mut Effects::default()).unwrap();
    let none = FieldTable::default();
    let binding = BindingName { source: "x", destination: "q", to_queue: true, key: "a.#", arguments: &none };
    vhost.bind(binding, &Client::broker()).unwrap();
    let value = policy("", "queues", 3, &json!({"max-length": 7}));
    vhost.set_parameter("policy", "p", value.clone(), &mut Effects::default()).unwrap();
    let limit = policy("", "queues", 0, &json!({"max-length": 9}));
    vhost.set_parameter("operator_policy", "o", limit, &mut Effects::default()).unwrap();
    vhost.set_parameter("shovel", "s", json!({"src": "a"}), &mut Effects::default()).unwrap();
    broker.set_global_parameter("cluster_name", json!("leverets")).unwrap();

    let exported = broker.definitions().to_json();
    assert_eq!(exported["queues"][0]["type"], "quorum");
    assert_eq!(exported["policies"][0]["apply-to"], "queues");
    assert_eq!(exported["global_parameters"], json!([{"name": "cluster_name", "value": "leverets"}]));
    assert_eq!(exported["bindings"][0]["destination_type"], "queue");

    let other = Broker::new(Users::new(vec![]));
    let definitions = Definitions::from_json(exported.clone()).unwrap();
    for _ in 0..2 {
        other.import(&definitions, &mut Effects::default()).unwrap();
        assert_eq!(other.definitions().to_json(), exported);
    }
    assert!(logs_in(&other, "bob", "pw"));
    assert_eq!(other.vhost("/").unwrap().find_queue("q").unwrap().rules().max_length, Some(7));
}

#[test]
fn what_is_bound_to_something_that_is_not_exported_is_not_either() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    let client = Client::broker();
    exchange(&vhost, "x", "fanout");
    let internal = ExchangeOptions { kind: "fanout".into(), internal: true, ..ExchangeOptions::default() };
    vhost.declare_exchange("inner", internal, &client).unwrap();
    let mine = QueueOptions { exclusive: Some(Owner(7)), ..QueueOptions::default() };
    let me = Client { owner: Owner(7), ..Client::broker() };
    vhost.declare_queue("mine", mine, &me, &mut Effects::default()).unwrap();
    let named = QueueOptions { durable: true, ..QueueOptions::default() };
    vhost.declare_server_named("amq.gen-1", named, &client, &mut Effects::default()).unwrap();
    declare(&vhost, "q", &client).unwrap();
    let none = FieldTable::default();
    for (source, destination, to_queue) in [
        ("x", "q", true),
        ("x", "mine", true),
        ("x", "amq.gen-1", true),
        ("x", "inner", false),
        ("inner", "q", true),
        ("amq.topic", "x", false),
    ] {
        vhost.bind(BindingName { source, destination, to_queue, key: "", arguments: &none }, &me).unwrap();
    }
    let exported = broker.definitions().to_json();
    let other = Broker::new(Users::new(vec![]));
    other.import(&Definitions::from_json(exported).unwrap(), &mut Effects::default()).unwrap();
    let bindings = other.vhost("/").unwrap().bindings();
    let mut bound: Vec<_> = bindings.iter().map(|it| (&*it.source, &*it.destination)).collect();
    bound.sort_unstable();
    assert_eq!(bound, [("amq.topic", "x"), ("x", "q")]);
}

#[test]
fn names_are_short_strings() {
    let broker = broker();
    let (vhost, client, long) = (broker.vhost("/").unwrap(), Client::broker(), "n".repeat(256));
    let queue = declare(&vhost, &long, &client).map(|_| ());
    let options = ExchangeOptions { kind: "fanout".into(), ..ExchangeOptions::default() };
    let exchange = vhost.declare_exchange(&long, options, &client);
    declare(&vhost, "q", &client).unwrap();
    let none = FieldTable::default();
    let binding =
        BindingName { source: "amq.direct", destination: "q", to_queue: true, key: &long, arguments: &none };
    for refused in [queue, exchange, vhost.bind(binding, &client)] {
        let refused = refused.unwrap_err().text;
        assert!(refused.contains("longer than 255 bytes"), "{refused}");
    }
    declare(&vhost, &long[1..], &client).unwrap();
}

#[test]
fn definitions_of_a_vhost_fit_into_another() {
    let broker = broker();
    declare(&broker.vhost("/").unwrap(), "q", &Client::broker()).unwrap();
    let exported = broker.definitions_of(&broker.vhost("/").unwrap()).to_vhost_json();
    assert!(exported.get("users").is_none() && exported["queues"][0].get("vhost").is_none());
    let other: Arc<Vhost> = broker.add_vhost("other").unwrap();
    let definitions = Definitions::from_vhost_json(exported, "other").unwrap();
    broker.import(&definitions, &mut Effects::default()).unwrap();
    assert!(other.find_queue("q").is_some());
}

#[test]
fn wrong_definitions_name_the_place_and_change_nothing() {
    let broker = broker();
    let before = broker.definitions();
    let queue = json!({"name": "good", "vhost": "/", "durable": true});
    for (wrong, named) in [
        (json!({"queues": [queue, {"name": "bad"}]}), "queues[1] 'bad'"),
        (json!({"queues": {}}), "queues: expected an array"),
        (json!({"queues": [{"name": "q", "vhost": "nowhere"}]}), "no vhost 'nowhere'"),
        (json!({"users": [{"name": "u", "password_hash": "?", "tags": ""}]}), "users[0] 'u'"),
        (json!({"users": [{"name": "u", "password_hash": "", "hashing_algorithm": "rot13"}]}), "rot13"),
        (
            json!({"queues": [queue], "policies": [{"name": "p", "vhost": "/", "pattern": "", "definition": {"colour": 1}}]}),
            "colour",
        ),
        (json!({"exchanges": [{"name": "x", "vhost": "/", "type": "magic"}]}), "magic"),
        (
            json!({"permissions": [{"user": "ghost", "vhost": "/", "configure": "", "write": "", "read": ""}]}),
            "ghost",
        ),
        (
            json!({"exchanges": [{"name": "x", "vhost": "/", "type": "fanout"}],
                   "queues": [{"name": "bad", "vhost": "/", "durable": true, "arguments": {"x-message-ttl": "soon"}}]}),
            "x-message-ttl",
        ),
        (
            json!({"queues": [queue, {"name": "bad", "vhost": "/", "type": "quorum", "auto_delete": true, "durable": true}]}),
            "auto-delete",
        ),
        (
            json!({"queues": [queue], "exchanges": [{"name": "d", "vhost": "/", "type": "x-delayed-message"}]}),
            "x-delayed-type",
        ),
        (json!({"queues": [queue, {"name": "q".repeat(256), "vhost": "/"}]}), "longer than 255 bytes"),
        (
            json!({"queues": [queue], "bindings": [{"source": "amq.fanout", "vhost": "/", "destination": "none", "destination_type": "queue", "routing_key": ""}]}),
            "no queue 'none'",
        ),
        (
            json!({"topic_permissions": [{"user": "guest", "vhost": "/", "exchange": "x", "write": "(", "read": ""}]}),
            "topic permission of 'guest'",
        ),
        (
            json!({"queues": [queue], "bindings": [{"source": "x", "vhost": "/", "destination": "q", "destination_type": "hole", "routing_key": ""}]}),
            "destination_type",
        ),
        (json!([]), "expected an object"),
    ] {
        let import = Definitions::from_json(wrong)
            .and_then(|definitions| broker.import(&definitions, &mut Effects::default()));
        let refused = import.unwrap_err().text;
        assert!(refused.contains(named), "{named}: {refused}");
        assert_eq!(broker.definitions(), before, "{named}");
    }
}

#[test]
fn nobody_may_anything_without_permissions() {
    let access = Access::none("alice", "/");
    assert!(access.check(Operation::Read, Resource::Queue("q")).is_err());
}

#[test]
fn a_page_of_queues_is_in_the_order_of_their_names() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    for number in (0..20).rev() {
        declare(&vhost, &format!("q{number:02}"), &Client::broker()).unwrap();
    }
    vhost.delete_queue("q06", &Client::broker(), false, false).unwrap();
    let page = |range| vhost.queue_page(range).iter().map(|queue| queue.name.to_string()).collect::<Vec<_>>();
    assert_eq!(page(5..8), ["q05", "q07", "q08"]);
    assert_eq!(page(18..30), ["q19"]);
    assert!(page(19..25).is_empty());
}
