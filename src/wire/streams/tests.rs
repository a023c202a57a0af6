//! Layer 1: the tables of the specification on names, permissions and matching.

use proptest::prelude::*;

use super::*;

fn lang(tag: &str) -> Lang {
    Lang::parse(tag).unwrap()
}

fn spoken(tag: &str) -> LangOrAuto {
    LangOrAuto::Lang(lang(tag))
}

fn subs(texts: &[&str]) -> Vec<Subscription> {
    texts.iter().map(|text| parse(text)).collect()
}

#[test]
fn transcription_names_are_read_with_language_and_options() {
    for (text, expected) in [
        ("transcription:en-US", spoken("en-US")),
        ("transcription:yue-CN", spoken("yue-CN")),
        ("transcription:en", spoken("en")),
        ("transcription:yue", spoken("yue")),
        ("transcription:auto", LangOrAuto::Auto),
        ("transcription:auto?hints=es", LangOrAuto::Auto),
        ("transcription:en-US?hints=es%2Cfr", spoken("en-US")),
        (
            "transcription:ja-JP?no-language-identification=true",
            spoken("ja-JP"),
        ),
        ("transcription:en-US:more", spoken("en-US")),
    ] {
        let subscription = parse(text);
        assert_eq!(subscription.parsed, Sub::Transcription(expected), "{text}");
        assert_eq!(&*subscription.text, text);
        assert!(subscription.wants_speech() && !subscription.wants_pcm());
    }
    for text in [
        "transcription:",
        "transcription:EN-us",
        "transcription:e",
        "transcription:engl",
        "transcription:en-USA",
        "transcription:en_US",
        "transcription:en-",
        "transcription:en-US-x",
        "transcription?hints=es",
        "Transcription:en-US",
        "transcription: en-US",
    ] {
        assert_eq!(parse(text).parsed, Sub::Named, "{text}");
        assert!(!parse(text).wants_speech());
    }
}

#[test]
fn the_bare_transcription_is_american_english() {
    assert_eq!(parse("transcription"), parse("transcription:en-US"));
    let translation = parse("translation");
    assert_eq!(
        (translation.parsed, &*translation.text),
        (Sub::Named, "translation")
    );
    assert!(translation.wants_speech());
}

#[test]
fn translation_names_are_read_in_all_their_spellings() {
    for (text, source, target) in [
        ("translation:es-ES-to-en-US", spoken("es-ES"), "en-US"),
        ("translation:all-to-en-US", LangOrAuto::Auto, "en-US"),
        (
            "translation:all-to-en-US?no-language-identification=true",
            LangOrAuto::Auto,
            "en-US",
        ),
        ("translation:auto-es", LangOrAuto::Auto, "es"),
        ("translation:all-es-ES", LangOrAuto::Auto, "es-ES"),
        ("translation:en-ja", spoken("en"), "ja"),
        ("translation:en-US-ja-JP", spoken("en-US"), "ja-JP"),
        ("translation:en-US-ja", spoken("en-US"), "ja"),
        ("translation:en-ja-JP", spoken("en"), "ja-JP"),
        ("translation:yue-CN-en?hints=fr", spoken("yue-CN"), "en"),
        ("translation:en-to", spoken("en"), "to"),
        ("translation:en-US:fr-FR", spoken("en-US"), "fr-FR"),
        ("translation:auto:es?hints=en", LangOrAuto::Auto, "es"),
    ] {
        let expected = Sub::Translation {
            source,
            target: lang(target),
        };
        assert_eq!(parse(text).parsed, expected, "{text}");
    }
    for text in [
        "translation:",
        "translation:en",
        "translation:en-US",
        "translation:-to-",
        "translation:en-all",
        "translation:en-auto",
        "translation:en-US-to-",
        "translation:-to-en-US",
        "translation:en-ja-fr",
        "translation:en-US-to-all",
        "translation:en:all",
        "translation:en:",
        "translation::en",
        "translation:en?hints=es:fr",
        "translation:EN:fr",
        "translation:EN-JA",
    ] {
        assert_eq!(parse(text).parsed, Sub::Named, "{text}");
    }
}

#[test]
fn names_of_other_streams_are_read_as_they_are() {
    for (text, expected) in [
        ("*", Sub::Wildcard),
        ("all", Sub::Wildcard),
        ("touch_event", Sub::Touch(Gestures::Any)),
        ("touch_event:double_tap", Sub::Touch(Gestures::Named)),
        ("location_stream", Sub::LocationStream),
        ("location_update", Sub::Named),
        ("augmentos:brightness", Sub::Settings),
        ("augmentos:*", Sub::Settings),
        ("VAD", Sub::Named),
        ("anything at all", Sub::Named),
        ("", Sub::Named),
    ] {
        assert_eq!(parse(text).parsed, expected, "{text}");
    }
    assert!(parse("audio_chunk").wants_pcm());
    assert!(parse("location_stream").wants_location() && parse("location_update").wants_location());
    for wildcard in subs(&["*", "all"]) {
        assert!(!wildcard.wants_pcm() && !wildcard.wants_speech() && !wildcard.wants_location());
    }
}

#[test]
fn options_are_read_and_merged() {
    let options = |text: &str| parse(text).language_options();
    let mut merged = options("transcription:en-US?hints=es%2Cfr&no-language-identification=true");
    assert_eq!(merged.hints, ["es", "fr"]);
    assert!(merged.no_language_identification);
    let other = options("transcription:en-US?no-language-identification=false&hints=fr,de,");
    assert_eq!(other.hints, ["fr", "de"]);
    merged.merge(&other);
    assert_eq!(merged.hints, ["es", "fr", "de"]);
    assert!(!merged.no_language_identification);
    for plain in [
        "transcription:en-US",
        "transcription:en-US?",
        "custom?hints=es",
        "custom:x?hints=es",
    ] {
        assert_eq!(options(plain), LanguageOptions::default(), "{plain}");
    }
}

#[test]
fn languages_match_when_equal_or_one_is_bare() {
    for (a, b, expected) in [
        ("en", "en-US", true),
        ("en-US", "en", true),
        ("en-US", "en-US", true),
        ("en", "en", true),
        ("en-US", "en-GB", false),
        ("en", "es-ES", false),
        ("en", "eng", false),
    ] {
        assert_eq!(lang(a).matches(&lang(b)), expected, "{a} {b}");
    }
    // "Lowest region first."
    assert!(lang("en-AU") < lang("en-US"));
}

/// Asserts (subscriptions, event, streamType).
fn assert_delivery(table: &[(&[&str], &str, Option<&str>)]) {
    for (own, event, expected) in table {
        let own_subs = subs(own);
        let event = StreamEvent::new(event);
        assert_eq!(
            delivered_as(&own_subs, &event),
            *expected,
            "{own:?} {}",
            event.name()
        );
        let any = own_subs
            .iter()
            .any(|subscription| subscription.matches(&event));
        assert_eq!(any, expected.is_some());
    }
}

#[test]
fn plain_streams_are_delivered_under_their_name() {
    assert_delivery(&[
        (&["button_press"], "button_press", Some("button_press")),
        (&["button_press"], "head_position", None),
        (&["vad"], "VAD", None),
        (&["*"], "button_press", Some("button_press")),
        (&["all"], "audio_chunk", Some("audio_chunk")),
        (&["*"], "transcription:en-US", Some("transcription:en-US")),
        (&["*"], "transcription:auto", Some("transcription:auto")),
        (&[], "button_press", None),
        (
            &["location_stream"],
            "location_update",
            Some("location_update"),
        ),
        (
            &["location_update"],
            "location_update",
            Some("location_update"),
        ),
        (&["location_update"], "location_stream", None),
    ]);
}

#[test]
fn touches_are_delivered_as_the_gesture_where_it_matched() {
    const TAP: &str = "touch_event:double_tap";
    assert_delivery(&[
        (&["touch_event"], TAP, Some("touch_event")),
        (&[TAP], TAP, Some(TAP)),
        (&["touch_event", TAP], TAP, Some(TAP)),
        (&["touch_event", "*"], TAP, Some(TAP)),
        (&["touch_event:long_press"], TAP, None),
        (&["touch_event"], "touch_event", Some("touch_event")),
        (&[TAP], "touch_event", None),
    ]);
}

#[test]
fn transcriptions_are_delivered_under_the_own_string() {
    const EVENT: &str = "transcription:en-US";
    const HINTS: &str = "transcription:en-US?hints=es";
    const SHORT: &str = "transcription:en";
    assert_delivery(&[
        (&[HINTS], EVENT, Some(HINTS)),
        (&["transcription"], EVENT, Some(EVENT)),
        (&[SHORT], EVENT, Some(SHORT)),
        (&[EVENT], SHORT, Some(EVENT)),
        (&[SHORT, HINTS], EVENT, Some(HINTS)),
        (&["*", SHORT], EVENT, Some(SHORT)),
        (&[HINTS, EVENT], EVENT, Some(HINTS)),
        (&["transcription:fr-FR"], EVENT, None),
        (&["transcription:xx_YY"], EVENT, None),
        (
            &["transcription:auto"],
            "transcription:auto",
            Some("transcription:auto"),
        ),
        (&[EVENT], "transcription:auto", None),
        (&["transcription:auto"], EVENT, None),
    ]);
}

#[test]
fn translations_match_source_and_target() {
    const EVENT: &str = "translation:es-ES-to-en-US";
    const OPTION: &str = "translation:es-ES-to-en-US?a=b";
    const ANY: &str = "translation:all-to-en-US";
    assert_delivery(&[
        (&[OPTION], EVENT, Some(OPTION)),
        (&["translation:es-ES-to-de-DE"], EVENT, None),
        (&["translation:fr-FR-to-en-US"], EVENT, None),
        (&[ANY], EVENT, Some(ANY)),
        // An app with a handler for each hears what the pair's recogniser says in that one.
        (&[ANY, EVENT], EVENT, Some(EVENT)),
        (&[ANY, EVENT], ANY, Some(ANY)),
        (
            &["translation:auto-en", "translation:es-en"],
            "translation:es-to-en",
            Some("translation:es-en"),
        ),
        (&["translation:es-en"], EVENT, Some("translation:es-en")),
        (
            &["translation:es-ES:en-US"],
            EVENT,
            Some("translation:es-ES:en-US"),
        ),
        (&["translation:auto-en"], EVENT, Some("translation:auto-en")),
        (&[EVENT], ANY, None),
        (
            &["translation:auto-en-US"],
            ANY,
            Some("translation:auto-en-US"),
        ),
        (&["translation"], EVENT, None),
        (&["transcription:en-US"], EVENT, None),
        (&["*"], EVENT, Some(EVENT)),
    ]);
}

#[test]
fn auto_subscribers_are_reached_where_the_caller_says_so() {
    let event = StreamEvent::new("transcription:fr-FR").with_auto(AutoSubscribers::Include);
    for (own, expected) in [
        (
            &["transcription:auto?hints=fr"][..],
            "transcription:auto?hints=fr",
        ),
        (
            &["transcription:auto", "transcription:fr"],
            "transcription:fr",
        ),
        (&["*", "transcription:auto"], "transcription:auto"),
    ] {
        assert_eq!(delivered_as(&subs(own), &event), Some(expected), "{own:?}");
    }
}

#[test]
fn each_stream_needs_the_permission_of_its_data() {
    use Permission::*;
    for (stream, expected) in [
        ("audio_chunk", Some(Microphone)),
        ("transcription", Some(Microphone)),
        ("transcription:en-US?hints=es", Some(Microphone)),
        ("translation:xx", Some(Microphone)),
        ("VAD", Some(Microphone)),
        ("location_update", Some(Location)),
        ("location_stream", Some(Location)),
        ("calendar_event", Some(Calendar)),
        ("photo_response", Some(Camera)),
        ("photo_taken", Some(Camera)),
        ("stream_status", Some(Camera)),
        ("managed_stream_status", Some(Camera)),
        ("phone_notification", Some(ReadNotifications)),
        ("phone_notification_dismissed", Some(ReadNotifications)),
        ("rtmp_stream_status", None),
        ("button_press", None),
        ("touch_event:double_tap", None),
        ("local_transcription", None),
        ("*", None),
        ("all", None),
    ] {
        assert_eq!(permission_for(stream), expected, "{stream}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_subscription_to_messages_of_its_name(
        text in "(transcription:|translation:|touch_event:|)[-a-zA-Z?:=&%]{0,16}|.{0,20}",
    ) {
        let subscription = parse(&text);
        let _ = subscription.language_options();
        let event = StreamEvent::new(&subscription.text);
        let own = [subscription.clone()];
        prop_assert_eq!(delivered_as(&own, &event), Some(&*subscription.text));
    }
}

#[test]
fn surplus_pieces_of_a_language_stream_do_not_count() {
    let pair = |source: &str, target: &str| Sub::Translation {
        source: LangOrAuto::Lang(Lang::parse(source).expect("a language")),
        target: Lang::parse(target).expect("a language"),
    };
    for (name, wanted) in [
        ("translation:es-ES-to-en-US:x", pair("es-ES", "en-US")),
        (
            "translation:es-ES-to-en-US-to-fr-FR",
            pair("es-ES", "en-US"),
        ),
        ("translation:es-ES-to-en-US?a=b?c=d", pair("es-ES", "en-US")),
        ("translation:en-US:fr-FR", pair("en-US", "fr-FR")),
        ("translation:en-US:fr-FR?hints=a:b", pair("en-US", "fr-FR")),
        ("translation:en-US:fr-FR:x", Sub::Named),
        ("translation:en-US:fr-FR:", Sub::Named),
        ("translation:en-US:", Sub::Named),
        ("translation:en-US", Sub::Named),
        ("translation:en-US?x:fr-FR", Sub::Named),
        ("translation:?en-US-to-fr-FR", Sub::Named),
        ("transcription:", Sub::Named),
        ("transcription:?hints=es", Sub::Named),
        ("touch_event:", Sub::Touch(Gestures::Named)),
        ("touch_event:xyz", Sub::Touch(Gestures::Named)),
    ] {
        assert_eq!(parse(name).parsed, wanted, "{name}");
    }
    let spoken = parse("transcription:en-US:x?hints=es");
    let us_english = Lang::parse("en-US").expect("a language");
    assert_eq!(
        spoken.parsed,
        Sub::Transcription(LangOrAuto::Lang(us_english))
    );
    assert_eq!(spoken.language_options(), LanguageOptions::default());
}

#[test]
fn options_stand_behind_the_first_question_mark_and_the_last_of_two_counts() {
    let hints = |name: &str| parse(name).language_options().hints;
    assert_eq!(hints("transcription:en-US?hints=es&hints=fr"), ["fr"]);
    assert_eq!(hints("transcription:en-US?hints=es?hints=fr"), ["es"]);
    assert_eq!(
        hints("transcription:en-US?x&hints=es%2Cfr&&y=z"),
        ["es", "fr"]
    );
    assert_eq!(hints("translation:en-US:fr-FR?hints=es"), ["es"]);
    assert_eq!(hints("translation:en-US-to-fr-FR:x?hints=es"), [""; 0]);
    let off = |name: &str| parse(name).language_options().no_language_identification;
    assert!(off("transcription:ja-JP?no-language-identification=true"));
    for other in [
        "TRUE",
        "1",
        "",
        "false",
        "true&no-language-identification=false",
    ] {
        let name = format!("transcription:ja-JP?no-language-identification={other}");
        assert!(!off(&name), "{name}");
    }
}
