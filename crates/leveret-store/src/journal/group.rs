//! The header of a group, see `docs/storage-format.md`.

use crate::layout::{Fields, GROUP_ALIGN, PutFields, VERSION};

pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 4] = b"LVJ1";
const CHECKED: usize = HEADER_BYTES - 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    pub(crate) version: u16,
    pub(crate) file: u64,
    pub(crate) nonce: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) body_bytes: u32,
    pub(crate) body_checksum: u32,
}

impl GroupHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.put_u16(self.version);
        out.put_u16(0);
        out.put_u64(self.file);
        out.put_u64(self.nonce);
        out.put_u64(self.start);
        out.put_u64(self.end);
        out.put_u32(self.body_bytes);
        out.put_u32(self.body_checksum);
        out.resize(CHECKED, 0);
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        out
    }

    /// `None` where no whole header stands.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let mut fields = Fields(header);
        if fields.bytes(4)? != MAGIC
            || Fields(&header[CHECKED..]).u32()? != crc32fast::hash(&header[..CHECKED])
        {
            return None;
        }
        let version = fields.u16()?;
        fields.u16()?;
        Some(Self {
            version,
            file: fields.u64()?,
            nonce: fields.u64()?,
            start: fields.u64()?,
            end: fields.u64()?,
            body_bytes: fields.u32()?,
            body_checksum: fields.u32()?,
        })
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.version <= VERSION
    }

    /// Length on the disk, padding included.
    pub(crate) fn padded_bytes(&self) -> u64 {
        padded(HEADER_BYTES + self.body_bytes as usize) as u64
    }
}

pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(GROUP_ALIGN)
}
