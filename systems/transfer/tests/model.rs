//! The protocol as a model, explored to the last state: one transfer, with every message, callback and answer lost,
//! doubled, late or out of order, and A or B dying at every step. A state is reached by any sequence of [`moves`]; the
//! model says what the programs do in one transaction, and nothing of how.
//!
//! Money is lost in a state from which no more work, without any further fault, leads to the end; it is made in one
//! where both sides have it.

use std::collections::{HashMap, VecDeque};

/// How A and B do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// As the programs here do.
    Ours,
    /// The notes' second way: B inserts, credits and calls back within one transaction, and commits on "success"; A
    /// answers "error" to what it has confirmed before.
    CallbackInsideTransaction,
    /// Ours, but A answers "error" to a callback that it has confirmed before, as the notes do.
    RepeatedCallbackIsError,
}

/// A's log row, B's log row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Pending,
    Ok,
    Failed,
}

/// What a copy of B is doing, all of which a crash forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum B {
    Idle,
    /// Has called back and waits.
    Asking,
    /// Has read the answer and not acted on it.
    Told {
        success: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    a: Row,
    refunded: u8,
    b: Row,
    credited: u8,
    /// Two copies of B.
    b_does: [B; 2],
    /// Copies on the way, up to three of each.
    messages: u8,
    callbacks: u8,
    successes: u8,
    errors: u8,
}

const COPIES: u8 = 3;

impl State {
    /// A has debited, logged and staged the message in one transaction.
    fn begun() -> Self {
        Self {
            a: Row::Pending,
            refunded: 0,
            b: Row::Absent,
            credited: 0,
            b_does: [B::Idle; 2],
            messages: 0,
            callbacks: 0,
            successes: 0,
            errors: 0,
        }
    }

    /// The money is where it belongs, once.
    fn is_settled(self) -> bool {
        self.refunded + self.credited == 1
    }

    /// The money is there twice.
    fn is_double(self) -> bool {
        self.refunded + self.credited > 1
    }
}

/// A move, whether it is a fault, and where it leads.
type Move = (&'static str, bool, State);

/// Everything that can happen next.
fn moves(protocol: Protocol, state: State) -> Vec<Move> {
    let mut moves = Vec::new();
    network(state, &mut moves);
    company_a(protocol, state, &mut moves);
    company_b(protocol, state, &mut moves);
    moves
}

/// Whatever is on the way can be lost or doubled; nothing keeps an order.
fn network(state: State, moves: &mut Vec<Move>) {
    type Copies = fn(&mut State) -> &mut u8;
    let kinds: [(&str, &str, Copies); 4] = [
        ("a message is lost", "a message is doubled", |state| &mut state.messages),
        ("a callback is lost", "a callback is doubled", |state| &mut state.callbacks),
        ("an answer success is lost", "an answer success is doubled", |state| &mut state.successes),
        ("an answer error is lost", "an answer error is doubled", |state| &mut state.errors),
    ];
    for (lost, doubled, copies) in kinds {
        let mut next = state;
        let count = *copies(&mut next);
        if count > 0 {
            *copies(&mut next) = count - 1;
            moves.push((lost, true, next));
        }
        if (1..COPIES).contains(&count) {
            *copies(&mut next) = count + 1;
            moves.push((doubled, true, next));
        }
    }
}

fn company_a(protocol: Protocol, state: State, moves: &mut Vec<Move>) {
    // Everything A knows is in its database, so its crash changes nothing but that steps come later.
    if state.a == Row::Pending && state.messages < COPIES {
        moves.push(("A publishes", false, State { messages: state.messages + 1, ..state }));
    }
    if state.a == Row::Pending {
        moves.push(("A's time is up: failed", false, State { a: Row::Failed, ..state }));
    }
    if state.a == Row::Failed && state.refunded == 0 {
        moves.push(("A refunds", false, State { refunded: state.refunded + 1, ..state }));
    }
    if state.callbacks == 0 {
        return;
    }
    let heard = State { callbacks: state.callbacks - 1, ..state };
    let is_confirmed = state.a == Row::Ok && protocol == Protocol::Ours;
    let next = if state.a == Row::Pending || is_confirmed {
        State { a: Row::Ok, successes: (state.successes + 1).min(COPIES), ..heard }
    } else {
        State { errors: (state.errors + 1).min(COPIES), ..heard }
    };
    moves.push(("A answers a callback", false, next));
    moves.push((
        "A answers a callback, and dies before the answer leaves",
        true,
        State { successes: state.successes, errors: state.errors, ..next },
    ));
}

fn company_b(protocol: Protocol, state: State, moves: &mut Vec<Move>) {
    for copy in 0..state.b_does.len() {
        copy_of_b(protocol == Protocol::CallbackInsideTransaction, copy, state, moves);
    }
}

fn copy_of_b(inside: bool, copy: usize, state: State, moves: &mut Vec<Move>) {
    let doing = |state: State, does: B| {
        let mut next = state;
        next.b_does[copy] = does;
        next
    };
    let asking =
        |state: State| State { callbacks: (state.callbacks + 1).min(COPIES), ..doing(state, B::Asking) };
    let now = state.b_does[copy];
    if state.messages > 0 && now == B::Idle {
        let taken = State { messages: state.messages - 1, ..state };
        let next = match (inside, state.b) {
            // Row and money are written but not committed: to everybody else they are not there.
            (true, Row::Absent) => asking(taken),
            (false, Row::Absent) => State { b: Row::Pending, ..taken },
            _ => taken,
        };
        moves.push(("B takes a message", false, next));
    }
    if !inside && state.b == Row::Pending && now == B::Idle {
        moves.push(("B calls back", false, asking(state)));
    }
    // What B had not committed by then is delivered to it again.
    let messages = (state.messages + u8::from(inside)).min(COPIES);
    let rolled_back = State { messages, ..doing(state, B::Idle) };
    if now == B::Asking {
        moves.push(("B gives up waiting", false, rolled_back));
        if state.successes > 0 {
            let told = doing(state, B::Told { success: true });
            moves.push(("B reads success", false, State { successes: state.successes - 1, ..told }));
        }
        if state.errors > 0 {
            let told = doing(state, B::Told { success: false });
            moves.push(("B reads error", false, State { errors: state.errors - 1, ..told }));
        }
    }
    if let B::Told { success } = now {
        moves.push(("B commits what A said", false, commit(inside, success, doing(state, B::Idle))));
    }
    if now != B::Idle {
        moves.push(("B dies", true, rolled_back));
    }
}

/// What B does with A's word, in one transaction: only where its row says that it has not been done.
fn commit(inside: bool, success: bool, state: State) -> State {
    let is_open = state.b == if inside { Row::Absent } else { Row::Pending };
    match (is_open, success) {
        (true, true) => State { b: Row::Ok, credited: state.credited + 1, ..state },
        // Inside its transaction B rolls back, and knows nothing afterwards.
        (true, false) if !inside => State { b: Row::Failed, ..state },
        _ => state,
    }
}

/// Every state there is, each with how it was first reached.
struct Explored {
    protocol: Protocol,
    came_by: HashMap<State, Option<(State, &'static str)>>,
}

impl Explored {
    fn all(protocol: Protocol) -> Self {
        let mut came_by = HashMap::from([(State::begun(), None)]);
        let mut waiting = VecDeque::from([State::begun()]);
        while let Some(state) = waiting.pop_front() {
            for (name, _, next) in moves(protocol, state) {
                came_by.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    Some((state, name))
                });
            }
        }
        Self { protocol, came_by }
    }

    /// The first state reached in which the money is there twice.
    fn made(&self) -> Option<Vec<&'static str>> {
        self.shortest(State::is_double)
    }

    /// The first state reached from which work without faults does not lead to the money.
    fn lost(&self) -> Option<Vec<&'static str>> {
        let mut comes_from: HashMap<State, Vec<State>> = HashMap::new();
        for &state in self.came_by.keys() {
            for (_, is_fault, next) in moves(self.protocol, state) {
                if !is_fault {
                    comes_from.entry(next).or_default().push(state);
                }
            }
        }
        let mut good: std::collections::HashSet<State> =
            self.came_by.keys().copied().filter(|state| state.is_settled()).collect();
        let mut waiting: Vec<_> = good.iter().copied().collect();
        while let Some(state) = waiting.pop() {
            for &before in comes_from.get(&state).into_iter().flatten() {
                if good.insert(before) {
                    waiting.push(before);
                }
            }
        }
        self.shortest(|state| !good.contains(&state))
    }

    fn shortest(&self, is_wanted: impl Fn(State) -> bool) -> Option<Vec<&'static str>> {
        let ways = self.came_by.keys().filter(|state| is_wanted(**state)).map(|state| self.way_to(*state));
        ways.min_by_key(|way| (way.len(), way.clone()))
    }

    fn way_to(&self, mut state: State) -> Vec<&'static str> {
        let mut way = Vec::new();
        while let Some(Some((before, name))) = self.came_by.get(&state) {
            way.push(*name);
            state = *before;
        }
        way.reverse();
        way
    }
}

#[test]
fn no_state_makes_or_loses_money() {
    let explored = Explored::all(Protocol::Ours);
    println!("{} states", explored.came_by.len());
    assert!(explored.came_by.len() > 1000, "only {} states", explored.came_by.len());
    assert_eq!(explored.made(), None);
    assert_eq!(explored.lost(), None);
    // Both ends are possible, or the model would say nothing.
    for (credited, refunded) in [(1, 0), (0, 1)] {
        let is_there = |state: &State| (state.credited, state.refunded) == (credited, refunded);
        assert!(explored.came_by.keys().any(is_there), "{credited} {refunded}");
    }
}

#[test]
fn a_callback_inside_the_transaction_loses_money() {
    let way = Explored::all(Protocol::CallbackInsideTransaction).lost().expect("a way to lose money");
    println!("{}", way.join("\n"));
    // A confirms, and B never commits: dead, or without the answer.
    assert!(way.iter().any(|name| name.starts_with("A answers")), "{way:?}");
    assert!(!way.contains(&"B commits what A said"), "{way:?}");
}

#[test]
fn an_error_to_a_repeated_callback_loses_money() {
    let way = Explored::all(Protocol::RepeatedCallbackIsError).lost().expect("a way to lose money");
    println!("{}", way.join("\n"));
    // One lost answer is enough: whenever B asks again it is told to drop what A has confirmed.
    assert_eq!(way.last(), Some(&"A answers a callback, and dies before the answer leaves"), "{way:?}");
}
