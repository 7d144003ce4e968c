//! Field tables (spec 4.2.5.5) with the types that RabbitMQ and its clients use. [`Table`] borrows what came
//! over the wire, checked once; [`FieldTable`] owns its values.

use std::fmt;

use crate::DecodeError;
use crate::wire::{Reader, Wire, write_shortstr};

/// Nesting deeper than this is refused, so that no table exhausts the stack.
const MAX_DEPTH: usize = 64;

/// An encoded field table without its length, known to be well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Table<'a>(&'a [u8]);

/// A value in a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `V`
    Void,
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `L`
    U64(u64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: scale and unscaled value
    Decimal(u8, i32),
    /// `S`
    Text(&'a [u8]),
    /// `x`
    Binary(&'a [u8]),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `A`: the encoded items
    Array(&'a [u8]),
    /// `F`
    Table(Table<'a>),
}

impl<'a> Table<'a> {
    /// Checks an encoded table.
    ///
    /// # Errors
    /// Where a name or value is malformed, or nesting is deeper than 64.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        check_pairs(bytes, 0)?;
        Ok(Self(bytes))
    }

    /// The encoded pairs, without the table's length.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in their order. Names are bytes: a table may hold any.
    #[must_use]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter(Reader::new(self.0))
    }

    /// The first value of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ValueRef<'a>> {
        self.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// The same table, owned.
    #[must_use]
    pub fn to_owned(&self) -> FieldTable {
        FieldTable(
            self.iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_owned()))
                .collect(),
        )
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.iter().map(|(name, value)| (String::from_utf8_lossy(name), value));
        f.debug_map().entries(pairs).finish()
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a [u8], ValueRef<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

/// The pairs of a [`Table`].
#[derive(Clone, Debug)]
pub struct TableIter<'a>(Reader<'a>);

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.short_bytes().ok()?;
        Some((name, read_value(&mut self.0).ok()?))
    }
}

fn check_pairs(bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        reader.short_bytes()?;
        check_value(&mut reader, depth)?;
    }
    Ok(())
}

fn check_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::TooDeep(MAX_DEPTH));
    }
    match read_value(reader)? {
        ValueRef::Table(table) => check_pairs(table.0, depth + 1),
        ValueRef::Array(items) => {
            let mut reader = Reader::new(items);
            while !reader.rest().is_empty() {
                check_value(&mut reader, depth + 1)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_value<'a>(reader: &mut Reader<'a>) -> Result<ValueRef<'a>, DecodeError> {
    Ok(match reader.read::<u8>()? {
        b'V' => ValueRef::Void,
        b't' => ValueRef::Bool(reader.read::<u8>()? != 0),
        b'b' => ValueRef::I8(reader.read::<u8>()?.cast_signed()),
        b'B' => ValueRef::U8(reader.read()?),
        b's' => ValueRef::I16(reader.read::<u16>()?.cast_signed()),
        b'u' => ValueRef::U16(reader.read()?),
        b'I' => ValueRef::I32(reader.read::<u32>()?.cast_signed()),
        b'i' => ValueRef::U32(reader.read()?),
        b'l' => ValueRef::I64(reader.read::<u64>()?.cast_signed()),
        b'L' => ValueRef::U64(reader.read()?),
        b'f' => ValueRef::F32(f32::from_bits(reader.read()?)),
        b'd' => ValueRef::F64(f64::from_bits(reader.read()?)),
        b'D' => ValueRef::Decimal(reader.read()?, reader.read::<u32>()?.cast_signed()),
        b'S' => ValueRef::Text(reader.read()?),
        b'x' => ValueRef::Binary(reader.read()?),
        b'T' => ValueRef::Timestamp(reader.read()?),
        b'A' => ValueRef::Array(reader.read()?),
        b'F' => ValueRef::Table(Table(reader.read()?)),
        other => return Err(DecodeError::FieldType(other)),
    })
}

impl<'a> ValueRef<'a> {
    /// The items of an array, nothing for any other type.
    pub fn items(self) -> impl Iterator<Item = ValueRef<'a>> {
        let mut reader = Reader::new(if let Self::Array(items) = self { items } else { &[] });
        std::iter::from_fn(move || read_value(&mut reader).ok())
    }

    /// Any of the integer types, widened; `None` for other types and for more than `i64` holds.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        Some(match self {
            Self::I8(n) => n.into(),
            Self::U8(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I64(n) => n,
            Self::U64(n) => n.try_into().ok()?,
            _ => return None,
        })
    }

    /// A text that is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        if let Self::Text(text) = self { std::str::from_utf8(text).ok() } else { None }
    }

    /// The same value, owned.
    #[must_use]
    pub fn to_owned(self) -> Value {
        match self {
            Self::Void => Value::Void,
            Self::Bool(v) => Value::Bool(v),
            Self::I8(v) => Value::I8(v),
            Self::U8(v) => Value::U8(v),
            Self::I16(v) => Value::I16(v),
            Self::U16(v) => Value::U16(v),
            Self::I32(v) => Value::I32(v),
            Self::U32(v) => Value::U32(v),
            Self::I64(v) => Value::I64(v),
            Self::U64(v) => Value::U64(v),
            Self::F32(v) => Value::F32(v),
            Self::F64(v) => Value::F64(v),
            Self::Decimal(scale, v) => Value::Decimal(scale, v),
            Self::Text(v) => Value::Text(v.to_vec()),
            Self::Binary(v) => Value::Binary(v.to_vec()),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::Array(_) => Value::Array(self.items().map(ValueRef::to_owned).collect()),
            Self::Table(v) => Value::Table(v.to_owned()),
        }
    }
}

/// A field table that owns its pairs, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldTable(pub Vec<(String, Value)>);

/// A value in a [`FieldTable`]; the letters are those of [`ValueRef`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Void,
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Decimal(u8, i32),
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Timestamp(u64),
    Array(Vec<Value>),
    Table(FieldTable),
}

impl Value {
    /// Any of the integer types, widened; `None` for other types and for more than `i64` holds.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::I8(n) => n.into(),
            Self::U8(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I64(n) => n,
            Self::U64(n) => n.try_into().ok()?,
            _ => return None,
        })
    }
}

impl FieldTable {
    /// The first value of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Replaces the value of that name, or appends it.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The encoded pairs, without the table's length: what [`Table::parse`] takes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_pairs(self, &mut out);
        out
    }
}

impl<S: Into<String>, V: Into<Value>> FromIterator<(S, V)> for FieldTable {
    fn from_iter<I: IntoIterator<Item = (S, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<FieldTable> for Value {
    fn from(value: FieldTable) -> Self {
        Self::Table(value)
    }
}

fn write_pairs(table: &FieldTable, out: &mut Vec<u8>) {
    for (name, value) in &table.0 {
        write_shortstr(name, out);
        write_value(value, out);
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Void => out.push(b'V'),
        Value::Bool(v) => scalar(out, b't', u8::from(*v)),
        Value::I8(v) => scalar(out, b'b', v.cast_unsigned()),
        Value::U8(v) => scalar(out, b'B', *v),
        Value::I16(v) => scalar(out, b's', v.cast_unsigned()),
        Value::U16(v) => scalar(out, b'u', *v),
        Value::I32(v) => scalar(out, b'I', v.cast_unsigned()),
        Value::U32(v) => scalar(out, b'i', *v),
        Value::I64(v) => scalar(out, b'l', v.cast_unsigned()),
        Value::U64(v) => scalar(out, b'L', *v),
        Value::F32(v) => scalar(out, b'f', v.to_bits()),
        Value::F64(v) => scalar(out, b'd', v.to_bits()),
        Value::Decimal(scale, v) => {
            scalar(out, b'D', *scale);
            v.cast_unsigned().write(out, &mut 0);
        }
        Value::Text(v) => scalar(out, b'S', v.as_slice()),
        Value::Binary(v) => scalar(out, b'x', v.as_slice()),
        Value::Timestamp(v) => scalar(out, b'T', *v),
        Value::Array(items) => nested(out, b'A', |out| items.iter().for_each(|item| write_value(item, out))),
        Value::Table(table) => nested(out, b'F', |out| write_pairs(table, out)),
    }
}

fn scalar<'a>(out: &mut Vec<u8>, letter: u8, value: impl Wire<'a>) {
    out.push(letter);
    value.write(out, &mut 0);
}

fn nested(out: &mut Vec<u8>, letter: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(letter);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}
