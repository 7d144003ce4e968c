//! Reading journal files back, group by group, and telling a torn tail from damage.

use std::sync::Arc;

use crate::{
    StoreError,
    journal::group::{GroupHeader, HEADER_BYTES},
    layout::{GROUP_ALIGN, VERSION},
    storage::{Storage, StorageFile},
};

const WINDOW: usize = 1 << 20;

/// Walks over one journal file.
pub(crate) struct FileScan {
    pub(crate) name: String,
    file: Arc<dyn StorageFile>,
    pub(crate) size_bytes: u64,
    pub(crate) offset: u64,
    identity: Option<(u64, u64)>,
    window: Vec<u8>,
    window_at: u64,
}

impl FileScan {
    pub(crate) fn open(storage: &dyn Storage, name: &str) -> Result<Self, StoreError> {
        let file = storage.open(name, false).map_err(|error| StoreError::io("open", name, error))?;
        let size_bytes = file.size_bytes().map_err(|error| StoreError::io("measure", name, error))?;
        Ok(Self {
            name: name.to_owned(),
            file,
            size_bytes,
            offset: 0,
            identity: None,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// Finds out which use of the file its contents belong to: by its first group, else by the first later one
    /// that counts. Leaves the scan standing there. `None` for a file without any group from `first_file` on.
    pub(crate) fn identify(&mut self, first_file: u64) -> Result<Option<GroupHeader>, StoreError> {
        let header = self.header()?;
        if let Some(header) = header {
            self.identity = Some((header.file, header.nonce));
            return Ok((header.file >= first_file).then_some(header));
        }
        if self.bytes(0, HEADER_BYTES)?.is_none_or(|bytes| bytes.iter().all(|&byte| byte == 0)) {
            return Ok(None);
        }
        self.search(|header| header.file >= first_file)
    }

    /// From now on only groups of this use of the file count.
    pub(crate) fn expect(&mut self, number: u64, nonce: u64) {
        self.identity = Some((number, nonce));
    }

    /// Whether something of this use of the file stands at an offset, though it is no valid group.
    pub(crate) fn begins_a_group(&mut self, offset: u64) -> Result<bool, StoreError> {
        let identity = self.identity;
        let Some(bytes) = self.bytes(offset, HEADER_BYTES)? else { return Ok(false) };
        Ok(match GroupHeader::decode(bytes) {
            Some(header) => identity == Some((header.file, header.nonce)),
            None => bytes.iter().any(|&byte| byte != 0),
        })
    }

    /// The valid group at the current offset, which is then moved past it.
    pub(crate) fn group(&mut self) -> Result<Option<(GroupHeader, &[u8])>, StoreError> {
        let Some(header) = self.header()? else { return Ok(None) };
        if self.identity.is_some_and(|identity| identity != (header.file, header.nonce)) {
            return Ok(None);
        }
        let at = self.offset + HEADER_BYTES as u64;
        if !self.body_is_valid(&header, at)? {
            return Ok(None);
        }
        self.identity = Some((header.file, header.nonce));
        self.offset += header.padded_bytes();
        Ok(self.bytes(at, header.body_bytes as usize)?.map(|body| (header, body)))
    }

    /// Moves to the next valid group of the same use of the file after `position`.
    pub(crate) fn resync(&mut self, position: u64) -> Result<Option<GroupHeader>, StoreError> {
        let identity = self.identity;
        self.search(|header| {
            header.start >= position && identity.is_none_or(|found| found == (header.file, header.nonce))
        })
    }

    fn search(&mut self, wanted: impl Fn(&GroupHeader) -> bool) -> Result<Option<GroupHeader>, StoreError> {
        let start = self.offset;
        while self.offset + (GROUP_ALIGN as u64) < self.size_bytes {
            self.offset += GROUP_ALIGN as u64;
            let Some(header) = self.header()?.filter(|header| wanted(header)) else { continue };
            if self.body_is_valid(&header, self.offset + HEADER_BYTES as u64)? {
                self.identity = Some((header.file, header.nonce));
                return Ok(Some(header));
            }
        }
        self.offset = start;
        Ok(None)
    }

    fn header(&mut self) -> Result<Option<GroupHeader>, StoreError> {
        let header = self.bytes(self.offset, HEADER_BYTES)?.and_then(GroupHeader::decode);
        match header {
            Some(header) if !header.is_readable() => Err(StoreError::NewerFormat {
                file: self.name.clone(),
                found: header.version,
                supported: VERSION,
            }),
            header => Ok(header),
        }
    }

    fn body_is_valid(&mut self, header: &GroupHeader, at: u64) -> Result<bool, StoreError> {
        let body = self.bytes(at, header.body_bytes as usize)?;
        Ok(body.is_some_and(|body| crc32fast::hash(body) == header.body_checksum))
    }

    /// Bytes of the file through a window; `None` past its end.
    fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, StoreError> {
        let end = offset + count as u64;
        if end > self.size_bytes {
            return Ok(None);
        }
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let size = (self.size_bytes - offset).min(WINDOW.max(count) as u64);
            self.window.truncate(size as usize);
            if self.window.len() < size as usize {
                self.window = vec![0; size as usize];
            }
            let read = self.file.read_at(&mut self.window, offset);
            let read = read.map_err(|error| StoreError::io("read", &self.name, error))?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let start = (offset - self.window_at) as usize;
        Ok(self.window.get(start..start + count))
    }
}
