//! Mails as `.eml` files in a folder, which every mail program opens.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::message::Message;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{MailError, MailSender};

/// The most that file systems have room for.
const LONGEST_NAME_BYTES: usize = 255;

/// A folder of mails.
#[derive(Clone, Debug)]
pub struct MailFolder {
    path: PathBuf,
}

/// A mail in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFile {
    /// File name, with `.eml`.
    pub name: String,
    /// When it arrived, in milliseconds since 1970 UTC.
    pub arrived_ms: i64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl MailFolder {
    /// The folder at this path, made if there is none.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub async fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).await?;
        Ok(Self { path })
    }

    /// Keeps a mail under a name, in place of one that is there already. It appears whole or not at all, and is on disk
    /// when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep(&self, name: &str, mail: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(format!(".{name}.part"));
        let mut file = fs::File::create(&unfinished).await?;
        file.write_all(mail).await?;
        file.sync_all().await?;
        fs::rename(&unfinished, self.path.join(format!("{name}.eml"))).await?;
        fs::File::open(&self.path).await?.sync_all().await
    }

    /// The last mails that arrived, newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn latest(&self, limit: usize) -> io::Result<Vec<MailFile>> {
        let mut entries = fs::read_dir(&self.path).await?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            found.extend(mail_file(&entry).await);
        }
        found.sort_by(|a, b| b.arrived_ms.cmp(&a.arrived_ms).then_with(|| b.name.cmp(&a.name)));
        found.truncate(limit);
        Ok(found)
    }

    /// The mail of this file name; `None` when there is no such mail.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if !is_mail_name(name) {
            return Ok(None);
        }
        match fs::read(self.path.join(name)).await {
            Ok(mail) => Ok(Some(mail)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl MailSender for MailFolder {
    fn send<'a>(&'a self, name: &'a str, mail: &'a Message) -> BoxFuture<'a, Result<(), MailError>> {
        async move { self.keep(name, &mail.formatted()).await.map_err(MailError::new) }.boxed()
    }
}

async fn mail_file(entry: &fs::DirEntry) -> Option<MailFile> {
    let name = entry.file_name().into_string().ok().filter(|name| is_mail_name(name))?;
    let metadata = entry.metadata().await.ok()?;
    let arrived = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(MailFile { name, arrived_ms: leveret_bus::clock::ms(arrived), size_bytes: metadata.len() })
}

/// True for the name of a visible `.eml` file in this very folder.
fn is_mail_name(name: &str) -> bool {
    let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
    let fits = name.len() <= LONGEST_NAME_BYTES && !name.contains(['\\', '\0']);
    is_plain && fits && !name.starts_with('.') && name.ends_with(".eml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn kept_mails_are_listed_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mails = MailFolder::open(folder.path().join("new")).await.unwrap();
        mails.keep("a", b"first").await.unwrap();
        mails.keep("a", b"again").await.unwrap();
        mails.keep("b", b"second").await.unwrap();
        let mut names: Vec<_> = mails.latest(10).await.unwrap().into_iter().map(|mail| mail.name).collect();
        names.sort();
        assert_eq!(names, ["a.eml", "b.eml"]);
        assert_eq!(mails.read("a.eml").await.unwrap().as_deref(), Some(&b"again"[..]));
        assert_eq!(mails.read("c.eml").await.unwrap(), None);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        assert!(is_mail_name("welcome-1.eml"));
        for name in
            ["../a.eml", "/a.eml", "a/b.eml", "..", "", ".a.eml.part", ".hidden.eml", "a.txt", "a\\b.eml"]
        {
            assert!(!is_mail_name(name), "{name}");
        }
    }
}
