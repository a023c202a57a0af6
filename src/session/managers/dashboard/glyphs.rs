//! Layer 2, manager part: how wide text is on the glasses with a wide display (behaviour.md §6.2.1). Pure.

/// Width of each character from space to `~` in the glasses' own font; drawn one pixel wider, at double size.
const GLYPHS: &[u8; 95] =
    b"21265671223414135355555555114445765554455235475555555567665232432544444441241744443435575543137";
/// Of whatever the font does not name (px).
const WIDEST_PX: u64 = 16;

fn width_px(character: char) -> u64 {
    let index = (character as usize).checked_sub(usize::from(b' '));
    let glyph = index.and_then(|index| GLYPHS.get(index));
    glyph.map_or(WIDEST_PX, |glyph| (u64::from(glyph - b'0') + 1) * 2)
}

/// The beginning of `text` that is at most `max_px` wide.
pub(super) fn fitting(text: &str, max_px: u64) -> &str {
    let mut used_px = 0;
    let cut = text.char_indices().find(|(_, character)| {
        used_px += width_px(*character);
        used_px > max_px
    });
    cut.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// behaviour.md §6.2.1 gives both numbers.
    #[test]
    fn the_widest_header_and_a_space_measure_what_is_known_of_them() {
        let of = |text: &str| text.chars().map(width_px).sum::<u64>();
        assert_eq!(of("◌ 09/30, 12:00 AM, 100%"), super::super::HEADER_PX);
        assert_eq!(of(" "), super::super::SPACE_PX);
    }

    #[test]
    fn text_is_cut_by_its_pixels() {
        assert_eq!(fitting(&"W".repeat(30), 288), "W".repeat(18));
        assert_eq!(fitting(&"l".repeat(99), 288), "l".repeat(72));
        assert_eq!(fitting("°C", 15), "");
        assert_eq!(fitting("Clouds, 72°F", 288), "Clouds, 72°F");
    }
}
