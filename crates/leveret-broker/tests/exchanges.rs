//! What goes with an exchange or a queue that is deleted.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;

use leveret_amqp::FieldTable;
use leveret_broker::{BindingName, Client, Error, ExchangeOptions, Vhost};

use house::{House, me};

fn declare_auto_delete(house: &House, name: &str) {
    let options = ExchangeOptions { kind: "fanout".into(), auto_delete: true, ..ExchangeOptions::default() };
    house.vhost.declare_exchange(name, options, &me()).unwrap();
}

/// Binds or unbinds, as `change` says.
fn change(
    house: &House,
    change: impl FnOnce(&Vhost, BindingName<'_>, &Client) -> Result<(), Error>,
    (source, destination): (&str, &str),
) {
    let (to_queue, arguments) = (destination == "q", &FieldTable::default());
    change(&house.vhost, BindingName { source, destination, to_queue, key: "", arguments }, &me()).unwrap();
}

/// Auto-delete exchanges in a row, which ends in a queue; their names.
fn row(house: &mut House, len: usize) -> Vec<String> {
    house.declare("q", []);
    let names: Vec<String> = (0..len).map(|n| format!("x{n}")).collect();
    names.iter().for_each(|name| declare_auto_delete(house, name));
    change(house, Vhost::bind, (&names[0], "q"));
    for pair in names.windows(2) {
        change(house, Vhost::bind, (&pair[1], &pair[0]));
    }
    names
}

fn are_there(house: &House, names: &[String]) -> usize {
    names.iter().filter(|name| house.vhost.check_exchange(name).is_ok()).count()
}

#[test]
fn any_number_of_auto_delete_exchanges_goes_with_the_queue_at_their_end() {
    let mut house = House::new();
    let names = row(&mut house, 5_000);
    house.delete("q");
    assert_eq!(are_there(&house, &names), 0);
}

#[test]
fn they_go_with_the_binding_that_led_to_the_queue() {
    let mut house = House::new();
    let names = row(&mut house, 5_000);
    change(&house, Vhost::unbind, (&names[0], "q"));
    assert_eq!(are_there(&house, &names), 0);
    assert!(house.is_there("q"));
}

#[test]
fn an_exchange_that_leads_elsewhere_too_stays() {
    let mut house = House::new();
    let names = row(&mut house, 4);
    change(&house, Vhost::bind, (&names[2], "amq.fanout"));
    house.delete("q");
    assert_eq!(are_there(&house, &names[..2]), 0);
    assert_eq!(are_there(&house, &names[2..]), 2);
}

#[test]
fn exchanges_that_lead_to_each_other_go_once() {
    let mut house = House::new();
    let names = row(&mut house, 2);
    change(&house, Vhost::bind, (&names[0], &names[0]));
    house.delete("q");
    assert_eq!(are_there(&house, &names), 2, "it still leads to itself");
    change(&house, Vhost::unbind, (&names[0], &names[0]));
    assert_eq!(are_there(&house, &names), 0);
}
