//! The elementary data types of AMQP (spec 4.2.5) and how each is read and written.

use crate::{DecodeError, Table};

/// Reads elementary values from a payload, in order. Bits that follow each other share octets.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    bits_left: u8,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, bits: 0, bits_left: 0 }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes as they are.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(*taken)
    }

    /// The next value of type `T`.
    ///
    /// # Errors
    /// Where the payload is too short or the value malformed.
    #[inline]
    pub fn read<T: Wire<'a>>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }

    /// A short string without the check for UTF-8, for keys that are only compared.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where it reaches past the end.
    #[inline]
    pub fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.read::<u8>()?);
        self.take(len)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] where something is.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

/// A type with an encoding on the wire.
pub trait Wire<'a>: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// Where the payload is too short or the value malformed.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Appends the value. `bit` is the next free bit in the last octet, 0 for none, and is kept by the `bool`s.
    fn write(&self, out: &mut Vec<u8>, bit: &mut u8);
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl<'a> Wire<'a> for $type {
            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.array()?))
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>, bit: &mut u8) {
                *bit = 0;
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}
integers!(u8, u16, u32, u64);

impl<'a> Wire<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.bits_left == 0 {
            reader.bits = u8::read(reader)?;
            reader.bits_left = 8;
        }
        let value = reader.bits & 1 == 1;
        reader.bits >>= 1;
        reader.bits_left -= 1;
        Ok(value)
    }

    fn write(&self, out: &mut Vec<u8>, bit: &mut u8) {
        if *bit == 0 || *bit == 8 {
            out.push(0);
            *bit = 0;
        }
        if let Some(octet) = out.last_mut() {
            *octet |= u8::from(*self) << *bit;
        }
        *bit += 1;
    }
}

/// A short string.
impl<'a> Wire<'a> for &'a str {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        std::str::from_utf8(reader.short_bytes()?).map_err(|_| DecodeError::Utf8)
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>, bit: &mut u8) {
        *bit = 0;
        write_shortstr(self, out);
    }
}

/// Appends a short string; what is longer than 255 bytes is cut at a character's boundary.
#[inline]
pub fn write_shortstr(text: &str, out: &mut Vec<u8>) {
    let text = &text[..text.floor_char_boundary(255)];
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// A long string: any bytes.
impl<'a> Wire<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let len = u32::read(reader)?;
        reader.take(len as usize)
    }

    fn write(&self, out: &mut Vec<u8>, bit: &mut u8) {
        (self.len() as u32).write(out, bit);
        out.extend_from_slice(self);
    }
}

impl<'a> Wire<'a> for Table<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Table::parse(<&[u8]>::read(reader)?)
    }

    fn write(&self, out: &mut Vec<u8>, bit: &mut u8) {
        self.as_bytes().write(out, bit);
    }
}
