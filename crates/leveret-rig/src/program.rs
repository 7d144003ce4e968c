//! A program in a process of its own, to be killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running program. Dropped, it is killed.
pub struct Program {
    child: Child,
    /// What it announced on its first line that holds `://`, from there to the end of the word.
    pub url: String,
}

impl Program {
    /// Starts a program and waits until it announces its URL.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let announced = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let word = line.split_whitespace().find(|word| word.contains("://"))?;
            Some(word.to_owned())
        });
        let url = announced.unwrap_or_else(|| panic!("{command:?} announces no URL"));
        // Drained, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, url }
    }

    /// SIGKILL, now.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
