//! The calls of a published client of RabbitMQ's HTTP API, the crate `rabbitmq_http_client`, against the leveret binary: what
//! it cannot read of an answer fails here.

mod binary;
mod http;

use std::time::{Duration, Instant};

use binary::Broker;
use http::{Api, Busy};
use rabbitmq_http_client::api::Client;
use rabbitmq_http_client::commons::{
    BindingDestinationType, ExchangeType, PaginationParams, PolicyTarget, SupportedProtocol, UserLimitTarget,
    VirtualHostLimitTarget,
};
use rabbitmq_http_client::password_hashing;
use rabbitmq_http_client::requests::{
    BindingDeletionParams, EnforcedLimitParams, ExchangeParams, GlobalRuntimeParameterDefinition,
    Permissions, PolicyParams, QueueParams, TopicPermissions, UserParams, VirtualHostParams,
};
use serde_json::{Map, Value, json};

/// Longest wait for what a task of the broker does on its own.
const PATIENCE: Duration = Duration::from_secs(20);

type Guest = Client<String, &'static str, &'static str>;

fn client(broker: &Broker) -> Guest {
    Client::new(format!("http://{}/api", broker.management()), "guest", "guest")
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[tokio::test]
async fn what_is_declared_is_read_back() {
    let broker = Broker::ours();
    let client = client(&broker);
    let queue = QueueParams::new_durable_classic_queue("work", None).with_message_ttl(60_000);
    client.declare_queue("/", &queue).await.expect("a queue");
    client.declare_quorum_queue("/", "quorum").await.expect("a quorum queue");
    let topic = ExchangeParams::durable_topic("events", None);
    client.declare_exchange("/", &topic).await.expect("an exchange");
    let arguments = Some(map(&json!({"x-delayed-type": "topic"})));
    let delayed =
        ExchangeParams::durable("later", ExchangeType::Plugin("x-delayed-message".into()), arguments);
    client.declare_exchange("/", &delayed).await.expect("a delayed exchange");
    client.bind_queue("/", "work", "events", Some("a.#"), None).await.expect("a binding");
    client.bind_exchange("/", "events", "later", Some("#"), None).await.expect("a binding");

    let found = client.get_queue_info("/", "work").await.expect("the queue");
    assert!(found.durable && found.arguments.0["x-message-ttl"] == 60_000);
    assert_eq!(client.list_queues().await.expect("queues").len(), 2);
    assert_eq!(client.list_queues_in("/").await.expect("queues").len(), 2);
    let page = PaginationParams::first_page(1);
    assert_eq!(client.list_queues_paged(&page).await.expect("a page").len(), 1);
    assert_eq!(client.list_queues_with_details().await.expect("queues").len(), 2);
    assert_eq!(client.list_quorum_queues().await.expect("queues")[0].name, "quorum");
    assert_eq!(client.list_classic_queues_in("/").await.expect("queues")[0].name, "work");
    assert_eq!(client.get_exchange_info("/", "later").await.expect("the exchange").name, "later");
    assert!(client.list_exchanges().await.expect("exchanges").len() > 2);
    assert!(client.list_exchanges_in_paged("/", &page).await.expect("a page").len() == 1);
    assert_eq!(client.list_bindings().await.expect("bindings").len(), 4);
    assert_eq!(client.list_queue_bindings("/", "work").await.expect("bindings").len(), 2);
    let from = client.list_exchange_bindings_with_source("/", "later").await.expect("bindings");
    let to = client.list_exchange_bindings_with_destination("/", "events").await.expect("bindings");
    assert_eq!((from.len(), &from[0].destination), (1, &to[0].destination));

    let routed = client.publish_message("/", "events", "a.b", "hello", Map::new()).await.expect("publishes");
    assert!(routed.routed);
    let fetched = client.get_messages("/", "work", 5, "ack_requeue_true").await.expect("messages");
    assert_eq!(fetched[0].payload, "hello");
    client.purge_queue("/", "work").await.expect("is purged");
    assert!(client.get_messages("/", "work", 5, "ack_requeue_false").await.expect("nothing").is_empty());

    let binding = BindingDeletionParams {
        virtual_host: "/",
        source: "events",
        destination: "work",
        destination_type: BindingDestinationType::Queue,
        routing_key: "a.#",
        arguments: None,
    };
    client.delete_binding(&binding, false).await.expect("is deleted");
    client.recreate_binding(&from[0]).await.expect("is there already");
    client.delete_queues("/", &["work", "quorum"], false).await.expect("are deleted");
    assert!(client.delete_queue("/", "work", false).await.is_err());
    client.delete_queue("/", "work", true).await.expect("nothing is fine too");
    client.delete_exchanges("/", &["later", "events"], false).await.expect("are deleted");
}

#[tokio::test]
async fn who_may_do_what_is_set_and_read_back() {
    let broker = Broker::ours();
    let client = client(&broker);
    let vhost = VirtualHostParams::named("v").with_description("d").with_tags(vec!["a", "b"]);
    client.create_vhost(&vhost).await.expect("a virtual host");
    let found = client.get_vhost("v").await.expect("the virtual host");
    assert_eq!((found.name.as_str(), found.description.as_deref()), ("v", Some("d")));
    assert_eq!(client.list_vhosts().await.expect("virtual hosts").len(), 2);

    let salt = password_hashing::salt();
    let hash = password_hashing::base64_encoded_salted_password_hash_sha256(&salt, "secret");
    client.create_user(&UserParams::monitoring("ann", &hash)).await.expect("a user");
    client.create_user(&UserParams::without_tags("bob", &hash)).await.expect("a user");
    assert_eq!(client.get_user("ann").await.expect("the user").name, "ann");
    assert_eq!(client.list_users().await.expect("users").len(), 3);
    assert_eq!(client.list_users_without_permissions().await.expect("users").len(), 2);
    assert_eq!(client.current_user().await.expect("ourselves").name, "guest");

    client.grant_permissions(&Permissions::read_only("ann", "v")).await.expect("a permission");
    client.grant_full_permissions("bob", "v").await.expect("a permission");
    assert_eq!(client.get_permissions("v", "ann").await.expect("the permission").read, ".*");
    assert_eq!(client.list_permissions_in("v").await.expect("permissions").len(), 3);
    assert_eq!(client.list_permissions_of("ann").await.expect("permissions").len(), 1);
    assert_eq!(client.list_permissions().await.expect("permissions").len(), 4);
    let topic = TopicPermissions { user: "ann", vhost: "v", exchange: "amq.topic", write: "^a", read: "^b" };
    client.declare_topic_permissions(&topic).await.expect("a topic permission");
    let of_ann = client.get_topic_permissions_of("v", "ann").await.expect("the topic permission");
    assert_eq!(of_ann.exchange, "amq.topic");
    assert_eq!(client.list_topic_permissions().await.expect("topic permissions").len(), 1);
    assert_eq!(client.list_topic_permissions_in("v").await.expect("topic permissions").len(), 1);
    assert_eq!(client.list_topic_permissions_of("ann").await.expect("topic permissions").len(), 1);
    client.clear_topic_permissions("v", "ann", false).await.expect("is cleared");
    client.clear_permissions("v", "ann", false).await.expect("is cleared");

    let limit = EnforcedLimitParams::new(UserLimitTarget::MaxChannels, 5);
    client.set_user_limit("ann", limit).await.expect("a limit");
    assert_eq!(client.list_user_limits("ann").await.expect("limits").len(), 1);
    assert_eq!(client.list_all_user_limits().await.expect("limits").len(), 1);
    client.clear_user_limit("ann", UserLimitTarget::MaxChannels).await.expect("is cleared");
    let limit = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 5);
    client.set_vhost_limit("v", limit).await.expect("a limit");
    assert_eq!(client.list_vhost_limits("v").await.expect("limits").len(), 1);
    assert_eq!(client.list_all_vhost_limits().await.expect("limits").len(), 1);
    client.clear_vhost_limit("v", VirtualHostLimitTarget::MaxQueues).await.expect("is cleared");

    client.delete_users(vec!["ann"]).await.expect("is deleted");
    client.delete_user("bob", false).await.expect("is deleted");
    client.enable_vhost_deletion_protection("v").await.expect("is protected");
    assert!(client.delete_vhost("v", false).await.is_err());
    let found = client.get_vhost("v").await.expect("the virtual host");
    assert_eq!(found.metadata.and_then(|metadata| metadata.protected_from_deletion), Some(true));
    client.disable_vhost_deletion_protection("v").await.expect("is protected no more");
    client.delete_vhost("v", false).await.expect("is deleted");
}

#[tokio::test]
async fn policies_parameters_and_definitions_are_set_and_read_back() {
    let broker = Broker::ours();
    let client = client(&broker);
    let definition = map(&json!({"max-length": 10}));
    let policy =
        PolicyParams::new("/", "p", "^q", definition.clone()).apply_to(PolicyTarget::Queues).priority(3);
    client.declare_policy(&policy).await.expect("a policy");
    client.declare_operator_policy(&policy).await.expect("an operator policy");
    let found = client.get_policy("/", "p").await.expect("the policy");
    assert_eq!((found.priority, found.pattern.as_str()), (3, "^q"));
    assert_eq!(client.get_operator_policy("/", "p").await.expect("the operator policy").name, "p");
    assert_eq!(client.list_policies().await.expect("policies").len(), 1);
    assert_eq!(client.list_policies_in("/").await.expect("policies").len(), 1);
    assert_eq!(client.list_operator_policies().await.expect("policies").len(), 1);
    assert_eq!(client.list_operator_policies_in("/").await.expect("policies").len(), 1);
    let matching = client.list_matching_policies("/", "q1", PolicyTarget::ClassicQueues).await;
    assert_eq!(matching.expect("policies").len(), 1);

    let limit = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 50);
    client.set_vhost_limit("/", limit).await.expect("a limit");
    let parameters = client.list_runtime_parameters_of_component("vhost-limits").await.expect("parameters");
    assert_eq!(parameters[0].name, "limits");
    let one = client.get_runtime_parameter("vhost-limits", "/", "limits").await.expect("the parameter");
    assert_eq!(one.value["max-queues"], 50);
    client.clear_runtime_parameter("vhost-limits", "/", "limits", false).await.expect("is cleared");
    let global = GlobalRuntimeParameterDefinition { name: "g", value: definition };
    client.upsert_global_runtime_parameter(&global).await.expect("a global parameter");
    assert_eq!(client.get_global_runtime_parameter("g").await.expect("the parameter").name, "g");
    assert!(client.list_global_runtime_parameters().await.expect("parameters").len() > 1);
    client.set_cluster_tags(map(&json!({"region": "here"}))).await.expect("tags");
    assert_eq!(client.get_cluster_tags().await.expect("tags").0["region"], "here");
    client.clear_cluster_tags().await.expect("are cleared");
    client.set_cluster_name("the-broker").await.expect("is named");
    assert_eq!(client.get_cluster_name().await.expect("the name").name, "the-broker");

    let whole = client.export_cluster_wide_definitions().await.expect("definitions");
    let data = client.export_cluster_wide_definitions_as_data().await.expect("definitions");
    assert_eq!(data.policies.len(), 1);
    client.export_vhost_definitions_as_data("/").await.expect("definitions");
    client.delete_policy("/", "p", false).await.expect("is deleted");
    client.delete_operator_policy("/", "p", false).await.expect("is deleted");
    client.import_definitions(serde_json::from_str(&whole).expect("JSON")).await.expect("are imported");
    assert_eq!(client.get_policy("/", "p").await.expect("it is back").priority, 3);
    let of_vhost = client.export_vhost_definitions("/").await.expect("definitions");
    let of_vhost = serde_json::from_str(&of_vhost).expect("JSON");
    client.import_vhost_definitions("/", of_vhost).await.expect("are imported");
}

#[tokio::test]
async fn the_node_and_who_is_connected_are_told() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    let client = client(&broker);
    api.put("/queues/%2f/shape", &json!({}));
    api.put("/exchanges/%2f/shape-x", &json!({"type": "fanout"}));
    api.post("/bindings/%2f/e/shape-x/q/shape", &json!({}));
    let busy = Busy::start(&broker.url);
    let start = Instant::now();
    while client.list_consumers().await.expect("consumers").is_empty() {
        assert!(start.elapsed() < PATIENCE, "there is no consumer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connection = client.list_connections().await.expect("connections").remove(0);
    assert_eq!(connection.client_properties.connection_name, "shape");
    assert_eq!(client.list_connections_in("/").await.expect("connections").len(), 1);
    assert_eq!(client.list_user_connections("guest").await.expect("connections").len(), 1);
    client.get_connection_info(&connection.name).await.expect("the connection");
    let channel = client.list_channels_on(&connection.name).await.expect("channels").remove(0);
    assert_eq!(client.get_channel_info(&channel.name).await.expect("the channel").id, channel.id);
    assert_eq!(client.list_channels().await.expect("channels").len(), 1);
    assert_eq!(client.list_channels_in("/").await.expect("channels").len(), 1);
    assert_eq!(client.list_consumers_in("/").await.expect("consumers")[0].consumer_tag, "shape");

    let node = client.list_nodes().await.expect("nodes").remove(0);
    client.get_node_info(&node.name).await.expect("the node");
    client.get_node_memory_footprint(&node.name).await.expect("its memory");
    client.list_node_plugins(&node.name).await.expect("its plugins");
    client.list_all_cluster_plugins().await.expect("all plugins");
    assert_eq!(client.overview().await.expect("the overview").object_totals.queues, 1);
    client.server_version().await.expect("a version");
    client.auth_attempts_statistics(&node.name).await.expect("log-ins");
    client.list_feature_flags().await.expect("feature flags");
    client.enable_feature_flag("quorum_queue").await.expect("it is on");
    assert!(client.list_all_deprecated_features().await.expect("features").is_empty());
    assert!(client.list_deprecated_features_in_use().await.expect("features").is_empty());
    client.rebalance_queue_leaders().await.expect("there is nothing to do");
    client.health_check_cluster_wide_alarms().await.expect("no alarms");
    client.health_check_local_alarms().await.expect("no alarms");
    client.health_check_if_node_is_quorum_critical().await.expect("there is one node");
    client.health_check_protocol_listener(SupportedProtocol::AMQP).await.expect("AMQP is spoken");
    let port = broker.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    client.health_check_port_listener(port).await.expect("it listens");
    assert!(client.health_check_port_listener(1).await.is_err());
    drop(busy);
}
