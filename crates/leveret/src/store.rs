//! `leveret store`: looking at a data folder that no broker has open. Nothing in it is changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use leveret_broker::stored::{Message, message_of};
use leveret_store::{CheckReport, DumpEntry, HeldKey, QueueId, StoreError};

use crate::failure::Failure;

/// Bytes of a body that a dump shows.
const SHOWN_BYTES: usize = 64;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything with its checksums and report; exit code 1 where something is damaged.
    Check(Folder),
    /// Print the records one a line: what the journal says, then what the segments hold.
    Dump {
        #[command(flatten)]
        folder: Folder,
        /// Only this queue, by the number that `leveret store check` gives it.
        #[arg(long, value_name = "NUMBER")]
        queue: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder that `leveret serve --data-dir` was given. No broker may have it open.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Check(folder) => check(&folder.dir),
        StoreCommand::Dump { folder, queue } => dump(&folder.dir, *queue),
    }
}

/// The store's own folder in a data folder.
fn messages(dir: &Path) -> Result<PathBuf, Failure> {
    let messages = dir.join("messages");
    if messages.is_dir() {
        return Ok(messages);
    }
    Err(Failure::run(format!(
        "{} holds no store: name the folder given to `leveret serve --data-dir`",
        dir.display()
    )))
}

fn failed(error: StoreError) -> Failure {
    let advice = if matches!(error, StoreError::InUse { .. }) { "; stop the broker first" } else { "" };
    Failure::run(format!("{error}{advice}"))
}

fn check(dir: &Path) -> Result<(), Failure> {
    let report = leveret_store::check(&messages(dir)?).map_err(failed)?;
    let names = leveret_server::queue_names(dir);
    print_report(&report, &names).map_err(|error| Failure::run(format!("cannot print: {error}")))?;
    match report.damage.len() {
        0 => Ok(()),
        count => Err(Failure::run(format!(
            "{count} damaged places; what is readable of them will still be delivered"
        ))),
    }
}

fn print_report(report: &CheckReport, names: &BTreeMap<u64, String>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let ended = if report.clean { "in order" } else { "by a crash, which the next start repairs" };
    writeln!(out, "ended             {ended}")?;
    writeln!(out, "messages waiting  {}", report.live_records)?;
    writeln!(out, "held on shelves   {}", report.held_records)?;
    writeln!(out, "queues            {}", report.queues)?;
    for (id, name) in names {
        writeln!(out, "  {id:>6}  {name}")?;
    }
    writeln!(out, "segments          {}", report.segments)?;
    writeln!(out, "journal files     {} with {} groups to replay", report.journal_files, report.groups)?;
    if let Some((file, offset)) = &report.torn_tail {
        writeln!(
            out,
            "torn tail         {file} at offset {offset}: an unfinished commit, which nobody was told of"
        )?;
    }
    for damage in &report.damage {
        writeln!(out, "DAMAGE            {damage}")?;
    }
    Ok(())
}

fn dump(dir: &Path, queue: Option<u64>) -> Result<(), Failure> {
    let names = leveret_server::queue_names(dir);
    let mut out = BufWriter::new(std::io::stdout().lock());
    for entry in leveret_store::dump(&messages(dir)?).map_err(failed)? {
        let line = line(&entry.map_err(failed)?, queue, &names);
        // Whoever closed the pipe has seen enough.
        if !line.is_empty() && writeln!(out, "{line}").is_err() {
            break;
        }
    }
    let _ = out.flush();
    Ok(())
}

/// The entry in words; empty where it says nothing of the queue asked for.
fn line(entry: &DumpEntry, only: Option<u64>, names: &BTreeMap<u64, String>) -> String {
    let wanted = |queue: &QueueId| only.is_none_or(|only| only == queue.0);
    let named =
        |queue: &QueueId| names.get(&queue.0).cloned().unwrap_or_else(|| format!("queue {}", queue.0));
    match entry {
        DumpEntry::Append { file, offset, targets, body, .. }
            if targets.iter().any(|(queue, _)| wanted(queue)) =>
        {
            let targets: Vec<_> =
                targets.iter().map(|(queue, seq)| format!("{} #{seq}", named(queue))).collect();
            format!("{file}@{offset} append to {}: {}", targets.join(", "), described(body))
        }
        DumpEntry::Settle { file, offset, queue, ranges } if wanted(queue) => {
            format!("{file}@{offset} settle in {}: {}", named(queue), ranges_in_words(ranges))
        }
        DumpEntry::Purge { file, offset, queue, up_to, keep } if wanted(queue) => {
            format!("{file}@{offset} purge {} up to #{up_to}, {} kept", named(queue), keep.len())
        }
        DumpEntry::Delete { file, offset, queue } if wanted(queue) => {
            format!("{file}@{offset} delete {}", named(queue))
        }
        DumpEntry::Mark { file, offset, queue, marks } if wanted(queue) => {
            let marks: Vec<_> = marks.iter().map(|(seq, mark)| format!("#{seq} as {mark}")).collect();
            format!("{file}@{offset} mark in {}: {}", named(queue), marks.join(", "))
        }
        DumpEntry::Record { file, offset, queue, seq, body, .. } if wanted(queue) => {
            format!("{file}@{offset} record of {} #{seq}: {}", named(queue), described(body))
        }
        DumpEntry::Hold { file, offset, shelf, key, body, .. } if only.is_none() => {
            format!("{file}@{offset} hold on shelf {} until {}: {}", shelf.0, until(key), described(body))
        }
        DumpEntry::Take { file, offset, shelf, taken } if only.is_none() => {
            let taken: Vec<_> = taken.iter().map(until).collect();
            format!("{file}@{offset} take off shelf {}: {}", shelf.0, taken.join(", "))
        }
        DumpEntry::Clear { file, offset, shelf } if only.is_none() => {
            format!("{file}@{offset} clear shelf {}", shelf.0)
        }
        DumpEntry::Held { file, offset, shelf, key, body, .. } if only.is_none() => {
            format!("{file}@{offset} held on shelf {} until {}: {}", shelf.0, until(key), described(body))
        }
        DumpEntry::Unreadable { file, offset, what } => format!("DAMAGE {file}@{offset} {what}"),
        _ => String::new(),
    }
}

/// When a record is due, in seconds since 1970, and its number.
fn until(key: &HeldKey) -> String {
    format!("{}.{:06} #{}", key.due / 1_000_000, key.due % 1_000_000, key.number)
}

fn ranges_in_words(ranges: &[(u64, u64)]) -> String {
    let words: Vec<_> = ranges
        .iter()
        .map(|(first, count)| match count {
            1 => format!("#{first}"),
            count => format!("#{first} to #{}", first + count - 1),
        })
        .collect();
    words.join(", ")
}

fn described(record: &[u8]) -> String {
    let Some(message) = message_of(record) else {
        return format!("{} bytes that are no message", record.len());
    };
    let Message { exchange, routing_key, body, .. } = message;
    format!("exchange '{exchange}' key '{routing_key}' {} bytes {}", body.len(), shown(body))
}

/// The first bytes: text as text, anything else as hex.
fn shown(body: &[u8]) -> String {
    let cut = &body[..body.len().min(SHOWN_BYTES)];
    let more = if cut.len() < body.len() { "…" } else { "" };
    match std::str::from_utf8(cut) {
        Ok(text) if !text.chars().any(char::is_control) => format!("\"{text}{more}\""),
        _ => {
            cut.iter().fold(String::from("0x"), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }) + more
        }
    }
}
