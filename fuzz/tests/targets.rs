//! Every target holds for what fuzzing begins with, and for some bytes of chance.

#[path = "../../xtask/src/fuzz/seeds.rs"]
mod seeds;

use std::fs;

use leveret_fuzz::{Worth, codec, definitions, http, queue, recovery, session, topic};

/// Inputs of chance for each target.
const INPUTS: u64 = 100;
const LARGEST: usize = 400;

fn holds(target: &str, fuzz: fn(&[u8]) -> Worth) {
    let corpus = tempfile::tempdir().expect("a folder");
    seeds::sow(target, corpus.path()).expect("seeds");
    let files = fs::read_dir(corpus.path()).expect("the seeds").map(|file| file.expect("a file").path());
    let worths: Vec<_> = files.map(|path| fuzz(&fs::read(path).expect("a seed"))).collect();
    assert!(worths.contains(&Worth::Keeping), "{target}: no seed means anything");
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..INPUTS {
        let bytes: Vec<u8> = (0..random.usize(..LARGEST)).map(|_| random.u8(..)).collect();
        fuzz(&bytes);
    }
}

#[test]
fn codec_holds() {
    holds("codec", codec::fuzz);
}

#[test]
fn definitions_hold() {
    holds("definitions", definitions::fuzz);
}

#[test]
fn http_holds() {
    holds("http", http::fuzz);
}

#[test]
fn queue_holds() {
    holds("queue", queue::fuzz);
}

#[test]
fn recovery_holds() {
    holds("recovery", recovery::fuzz);
}

#[test]
fn session_holds() {
    holds("session", session::fuzz);
}

#[test]
fn topic_holds() {
    holds("topic", topic::fuzz);
}
