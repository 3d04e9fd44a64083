//! The properties of an entity.

use std::borrow::Cow;
use std::ops::Index;

use time::OffsetDateTime;

/// A property's value, with its EDM type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Edm.String: at most 32,768 UTF-16 units.
    String(String),
    /// Edm.Int32: a plain number in JSON.
    Int32(i32),
    /// Edm.Int64: in JSON a string with the type beside it.
    Int64(i64),
    /// Edm.Boolean: `true` or `false` in JSON.
    Boolean(bool),
    /// Edm.DateTime, UTC; kept to 100 ns, the resolution of the service.
    DateTime(OffsetDateTime),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

value_from!(String => String, &str => String, i32 => Int32, i64 => Int64, bool => Boolean, OffsetDateTime => DateTime);

/// Properties by name, in no order that counts.
///
/// A list and no map: an event writes eleven rows of five to forty properties, whose names are constants of ours. To copy
/// each name and to keep a tree of them in order took a tenth of an event's processor time; finding one of forty by
/// comparing takes less than that.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    all: Vec<(Cow<'static, str>, Value)>,
    /// A bit for each name that was ever set, by [`bit`]: one whose bit is not there need not be looked for.
    set: u64,
}

/// One of 64 bits, which few names of a row share.
fn bit(name: &str) -> u64 {
    let letters = name.bytes().next().zip(name.bytes().next_back());
    let (first, last) = letters.map_or((0, 0), |(first, last)| (usize::from(first), usize::from(last)));
    1 << ((name.len() * 7 + first * 3 + last) % 64)
}

impl Properties {
    /// None yet, with room for a usual row.
    pub(super) fn with_room() -> Self {
        Self { all: Vec::with_capacity(16), set: 0 }
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.all.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Sets a property, whether it is there or not.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        let bit = bit(&name);
        if self.set & bit != 0
            && let Some((_, old)) = self.all.iter_mut().find(|(own, _)| *own == name)
        {
            *old = value;
            return;
        }
        self.set |= bit;
        self.all.push((name, value));
    }

    /// Takes a property away; gives its value if there was one.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.all.iter().position(|(own, _)| own == name)?;
        Some(self.all.swap_remove(at).1)
    }

    /// How many properties there are; the service takes 252 beside the key.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There is no property, only the key.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Names and values, in no order that counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all.iter().map(|(name, value)| (&**name, value))
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.all.iter_mut().map(|(_, value)| value)
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<N: Into<Cow<'static, str>>> Extend<(N, Value)> for Properties {
    fn extend<T: IntoIterator<Item = (N, Value)>>(&mut self, properties: T) {
        for (name, value) in properties {
            self.insert(name, value);
        }
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, Value)> for Properties {
    fn from_iter<T: IntoIterator<Item = (N, Value)>>(properties: T) -> Self {
        let mut all = Self::default();
        all.extend(properties);
        all
    }
}

impl IntoIterator for Properties {
    type Item = (Cow<'static, str>, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl Index<&str> for Properties {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        self.get(name).expect("who indexes knows that it is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_there_once_and_order_does_not_count() {
        let mut one: Properties =
            [("A", Value::Int32(1)), ("B", Value::Int32(2)), ("A", Value::Int32(3))].into_iter().collect();
        let mut other: Properties = [("B", Value::Int32(2)), ("A", Value::Int32(3))].into_iter().collect();
        assert_eq!((one.len(), &one["A"], one.get("C")), (2, &Value::Int32(3), None));
        assert_eq!(one, other);
        other.insert("C".to_owned(), Value::Boolean(true));
        assert_ne!(one, other);
        assert_eq!((one.remove("A"), one.remove("A")), (Some(Value::Int32(3)), None));
        one.extend(other);
        assert_eq!(one.len(), 3);
        // More names than bits.
        let twice = (0..400).map(|n| (format!("P{}", n % 200), Value::Int32(n)));
        let many: Properties = twice.collect();
        assert_eq!((many.len(), &many["P7"]), (200, &Value::Int32(207)));
    }
}
