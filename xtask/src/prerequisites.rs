//! What the tests need beside Rust: Debian packages, a browser among them, Python clients, Node clients. Installs
//! what is missing where it may, and otherwise says what to do; it never lets a missing piece pass.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use duct::cmd;

use crate::tree::Tree;

/// The Debian packages that the interop suites and the tests of pages need, each with what shows that it is there.
const DEBIAN: &[(&str, Evidence)] = &[
    ("golang-go", Evidence::Program(&["go", "version"])),
    ("golang-github-streadway-amqp-dev", Evidence::Folder("/usr/share/gocode/src/github.com/streadway/amqp")),
    ("python3", Evidence::Program(&["python3", "--version"])),
    ("python3-venv", Evidence::Program(&["python3", "-c", "import venv, ensurepip"])),
    ("nodejs", Evidence::Program(&["node", "--version"])),
    ("npm", Evidence::Program(&["npm", "--version"])),
    ("chromium", Evidence::Program(&["chromium", "--version"])),
    ("chromium-driver", Evidence::Program(&["chromedriver", "--version"])),
];

/// The version of the crate `rabbitmqadmin`.
const RABBITMQADMIN: &str = "2.35.0";

/// The version of the crate `cargo-fuzz`.
const CARGO_FUZZ: &str = "0.13.2";

/// Asks nothing, and starts no server that a package brings: to a runlevel of 1 none belongs.
const QUIETLY: [&str; 4] = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"];

enum Evidence {
    Program(&'static [&'static str]),
    Folder(&'static str),
}

impl Evidence {
    fn is_there(&self) -> bool {
        match self {
            Self::Program(line) => succeeds(line),
            Self::Folder(path) => Path::new(path).is_dir(),
        }
    }
}

/// Installs the Debian packages that are missing.
pub(crate) fn debian_packages() -> Result<()> {
    let missing: Vec<_> =
        DEBIAN.iter().filter(|(_, evidence)| !evidence.is_there()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let still: Vec<_> =
        DEBIAN.iter().filter(|(_, evidence)| !evidence.is_there()).map(|(name, _)| *name).collect();
    ensure!(still.is_empty(), "{} installed, yet not found when looked for", still.join(" "));
    Ok(())
}

/// Installs Debian packages as root, else says how to.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let advice = format!("these Debian packages are missing: install them with `apt-get install {names}`");
    let Some(privilege) = privilege() else { bail!(advice) };
    ensure!(succeeds(&["apt-get", "--version"]), "{advice} (or your system's packages of the same programs)");
    apt(privilege, &["update", "-qq"]).context(advice.clone())?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(privilege, &arguments).context(advice)
}

/// The words before a command that needs root: none for root itself, `None` when it cannot be had.
fn privilege() -> Option<&'static [&'static str]> {
    let is_root = cmd!("id", "-u").read().is_ok_and(|id| id == "0");
    if is_root {
        return Some(&[]);
    }
    succeeds(&["sudo", "-n", "true"]).then_some(&["sudo", "-n"])
}

fn apt(privilege: &[&str], arguments: &[&str]) -> Result<()> {
    eprintln!("apt-get {}", arguments.join(" "));
    let line = [privilege, &QUIETLY, arguments].concat();
    cmd(line[0], &line[1..]).stdin_null().stdout_to_stderr().run()?;
    Ok(())
}

/// A Python with the pinned clients, in a virtual environment under target.
pub(crate) fn python(tree: &Tree) -> Result<PathBuf> {
    let venv = tree.target("interop/venv");
    let pins = tree.root().join("interop/python/requirements.txt");
    let python = venv.join("bin/python");
    if is_fresh(&venv, &pins)? && python.exists() {
        return Ok(python);
    }
    eprintln!("installing the Python clients of {}", pins.display());
    cmd!("python3", "-m", "venv", "--clear", &venv)
        .stdin_null()
        .run()
        .context("python3 makes no virtual environment: is python3-venv installed?")?;
    cmd!(&python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &pins)
        .stdin_null()
        .run()
        .with_context(|| format!("pip cannot install the packages in {}", pins.display()))?;
    mark_fresh(&venv, &pins)?;
    Ok(python)
}

/// The folder in which Node finds the pinned client, under target.
pub(crate) fn node_modules(tree: &Tree) -> Result<PathBuf> {
    let folder = tree.target("interop/node");
    let pins = tree.root().join("interop/node/package.json");
    let modules = folder.join("node_modules");
    if is_fresh(&folder, &pins)? && modules.is_dir() {
        return Ok(modules);
    }
    eprintln!("installing the Node client of {}", pins.display());
    fs::create_dir_all(&folder)?;
    fs::copy(&pins, folder.join("package.json"))?;
    cmd!("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
        .dir(&folder)
        .stdin_null()
        .stdout_to_stderr()
        .run()
        .with_context(|| format!("npm cannot install the packages in {}", pins.display()))?;
    mark_fresh(&folder, &pins)?;
    Ok(modules)
}

/// RabbitMQ's newer `rabbitmqadmin`, built under target: without TLS, which nobody speaks here, and without what is for
/// debugging, it takes two minutes.
pub(crate) fn rabbitmqadmin(tree: &Tree) -> Result<PathBuf> {
    let folder = tree.target("interop/rabbitmqadmin");
    let program = folder.join("bin/rabbitmqadmin");
    let is_there = cmd!(&program, "--version").stderr_null().read();
    if is_there.is_ok_and(|version| version.ends_with(RABBITMQADMIN)) {
        return Ok(program);
    }
    eprintln!("building rabbitmqadmin {RABBITMQADMIN}");
    let build = folder.join("build");
    let version = format!("={RABBITMQADMIN}");
    let line =
        ["install", "rabbitmqadmin", "--version", &version, "--locked", "--debug", "--no-default-features"];
    tree.cargo(&[&line[..], &["--quiet", "--force"]].concat())
        .env("CARGO_INSTALL_ROOT", &folder)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run()
        .context("cargo cannot install rabbitmqadmin")?;
    fs::remove_dir_all(&build)?;
    Ok(program)
}

/// The folder in which `cargo-fuzz` is, built under target.
pub(crate) fn cargo_fuzz(tree: &Tree) -> Result<PathBuf> {
    let folder = tree.target("fuzz/tools");
    let programs = folder.join("bin");
    let is_there = cmd!(programs.join("cargo-fuzz"), "--version").stderr_null().read();
    if is_there.is_ok_and(|version| version.ends_with(CARGO_FUZZ)) {
        return Ok(programs);
    }
    eprintln!("building cargo-fuzz {CARGO_FUZZ}");
    let version = format!("={CARGO_FUZZ}");
    tree.cargo(&[
        "install",
        "cargo-fuzz",
        "--version",
        &version,
        "--locked",
        "--debug",
        "--quiet",
        "--force",
    ])
    .env("CARGO_INSTALL_ROOT", &folder)
    .env("CARGO_TARGET_DIR", folder.join("build"))
    .env("CARGO_PROFILE_DEV_DEBUG", "0")
    .run()
    .context("cargo cannot install cargo-fuzz")?;
    fs::remove_dir_all(folder.join("build"))?;
    Ok(programs)
}

/// Whether a folder was installed from these very pins.
fn is_fresh(folder: &Path, pins: &Path) -> Result<bool> {
    let wanted = fs::read(pins).with_context(|| format!("{} cannot be read", pins.display()))?;
    Ok(fs::read(folder.join(".pins")).is_ok_and(|installed| installed == wanted))
}

fn mark_fresh(folder: &Path, pins: &Path) -> Result<()> {
    fs::copy(pins, folder.join(".pins"))?;
    Ok(())
}

/// Whether a program runs and says yes.
pub(crate) fn succeeds(line: &[&str]) -> bool {
    cmd(line[0], &line[1..]).stdin_null().stdout_null().stderr_null().run().is_ok()
}
