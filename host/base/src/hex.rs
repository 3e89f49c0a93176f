//! Bytes as lower-case hexadecimal digits.

/// Two digits for each byte.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    let bytes = bytes.as_ref();
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes again; none where the text is not what [`encode`] makes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = *pair { Some(digit(high)? << 4 | digit(low)?) } else { None }).collect()
}

/// The same of so many bytes.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() == 2 * N { decode(text)?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_encoded_is_decoded() {
        assert_eq!(encode([0, 0x1f, 0xff]), "001fff");
        assert_eq!(decode_array("001fff"), Some([0, 0x1f, 0xff]));
        assert_eq!(decode(""), Some(Vec::new()));
        for wrong in ["0", "001", "1F", "0x", "é", "+1"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode_array::<2>("001fff"), None);
    }
}
