//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a while. It installs `cargo-fuzz` and builds the targets under the
//! target folder, and keeps there what it has found so far, so that the next run goes on from it. The stable toolchain is
//! enough: no sanitizer is asked for, because there is next to no unsafe code.

mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use duct::Expression;

use crate::counts::Counts;
use crate::prerequisites;
use crate::steps::Steps;
use crate::tree::Tree;

/// What can be fuzzed: the programs in `fuzz/targets`.
const TARGETS: [&str; 7] = ["codec", "definitions", "http", "queue", "recovery", "session", "topic"];
/// Largest input, in bytes.
const MAX_LEN: usize = 2000;
/// Longest that one input may take, in seconds.
const TIMEOUT_S: u32 = 20;
const MEMORY_MB: u32 = 2048;

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Which targets; all when none is named
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each of them runs
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

/// Runs the targets one after another. One that finds something fails, and says where the input is.
pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    let tools = install(tree)?;
    let all = TARGETS.map(String::from);
    let targets = if options.targets.is_empty() { &all[..] } else { &options.targets };
    let mut steps = Steps::default();
    if !steps.run("build", || build(tree, &tools)) {
        return steps.finish();
    }
    for target in targets {
        steps.run(target, || fuzz(tree, &tools, target, options.seconds));
    }
    steps.finish()
}

/// `cargo-fuzz`, and what builds libFuzzer.
fn install(tree: &Tree) -> Result<PathBuf> {
    if !prerequisites::succeeds(&["c++", "--version"]) {
        prerequisites::install(&["g++"])?;
    }
    prerequisites::cargo_fuzz(tree)
}

fn build(tree: &Tree, tools: &Path) -> Result<Counts> {
    cargo_fuzz(tree, tools, "build", &[])?.run().context("the fuzz targets do not build")?;
    Ok(Counts::default())
}

fn fuzz(tree: &Tree, tools: &Path, target: &str, seconds: u32) -> Result<Counts> {
    let corpus = tree.target("fuzz/corpus").join(target);
    let found = tree.target("fuzz/found").join(target);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder)?;
    }
    seeds::sow(target, &corpus)?;
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_LEN}"),
        format!("-timeout={TIMEOUT_S}"),
        format!("-rss_limit_mb={MEMORY_MB}"),
        format!("-artifact_prefix={}/", found.display()),
    ];
    let corpus = corpus.to_str().context("the target folder's name is not UTF-8")?;
    let mut arguments = vec![target, corpus, "--", "-print_final_stats=1"];
    arguments.extend(limits.iter().map(String::as_str));
    let done = cargo_fuzz(tree, tools, "run", &arguments)?.unchecked().run()?;
    if !done.status.success() {
        bail!("an input fails, see above; it is in {}", found.display());
    }
    Ok(Counts::default())
}

fn cargo_fuzz(tree: &Tree, tools: &Path, action: &str, arguments: &[&str]) -> Result<Expression> {
    let output = tree.target("fuzz");
    let output = output.to_str().context("the target folder's name is not UTF-8")?;
    let before = ["fuzz", action, "--sanitizer", "none", "--features", "engine", "--target-dir", output];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_path_buf()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders)?;
    ensure!(tree.root().join("fuzz/Cargo.toml").exists(), "the folder fuzz is not there");
    // Linking seven programs with optimisation across crates would take longer than it is worth.
    Ok(tree
        .cargo(&[&before[..], arguments].concat())
        .env("PATH", path)
        .env("CARGO_PROFILE_RELEASE_LTO", "off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_named_and_has_seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/targets");
        let files = fs::read_dir(folder).expect("the targets").map(|file| file.expect("a file").path());
        let mut names: Vec<_> =
            files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        names.sort();
        assert_eq!(names, TARGETS);
        let corpus = tempfile::tempdir().expect("a folder");
        for target in TARGETS {
            seeds::sow(target, corpus.path()).expect("seeds");
            assert!(fs::read(corpus.path().join("seed-0")).is_ok_and(|seed| !seed.is_empty()), "{target}");
            fs::remove_file(corpus.path().join("seed-0")).expect("it was there");
        }
    }
}
