//! Points in time, as outputs have them.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::machine::Timestamp;

/// Seconds since 1970 with fractions, and tag 1 in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.0 as f64 / 1000.0;
        match serializer.is_human_readable() {
            true => serializer.serialize_f64(seconds),
            false => ciborium::tag::Required::<f64, 1>(seconds).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_f64(Seconds),
            false => of_seconds(ciborium::tag::Required::<f64, 1>::deserialize(deserializer)?.0),
        }
    }
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        of_seconds(seconds)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        of_seconds(seconds as f64)
    }
}

fn of_seconds<E: Error>(seconds: f64) -> Result<Time, E> {
    const MILLISECONDS_MAX: f64 = (1_u64 << 53) as f64;
    let milliseconds = (seconds * 1000.0).round();
    match (0.0..MILLISECONDS_MAX).contains(&milliseconds) {
        true => Ok(Time(Timestamp(milliseconds as u64))),
        false => Err(E::custom(format!("{seconds} are no seconds since 1970"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        for milliseconds in [0, 1, 999, 1_795_342_830_500, 1_795_342_830_501] {
            let time = Time(Timestamp(milliseconds));
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time, "{json}");
            let mut cbor = Vec::new();
            ciborium::into_writer(&time, &mut cbor).unwrap();
            assert_eq!(cbor[0], 0xc1, "tag 1");
            assert_eq!(ciborium::from_reader::<Time, _>(&cbor[..]).unwrap(), time);
        }
        for wrong in ["-1", "1e300", "\"1970\"", "null"] {
            assert!(serde_json::from_str::<Time>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_str::<Time>("7").unwrap(), Time(Timestamp(7000)));
    }
}
