//! Flags read and flipped: in objects, in ConfigMaps, in the text of files.

use proptest::prelude::*;

use super::*;

fn flag(default: &str, targeting: Value) -> Value {
    json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": default, "targeting": targeting,
        "metadata": {"owner": "payments"}})
}

fn definition(flag: Value) -> Value {
    json!({"flags": {"ledger_nullable": flag, "other": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}})
}

fn now(flag: &Value) -> String {
    read("k", flag).now.map_or_else(|| "unknown".into(), |n| n.to_string())
}

#[test]
fn what_a_flag_says_is_read() {
    let user_key = json!({"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]});
    for (flag, want) in [
        (flag("on", json!({})), "on"),
        (flag("off", Value::Null), "off"),
        (flag("off", json!({"fractional": [["on", 25], ["off", 75]]})), "25 %"),
        (flag("off", json!({"fractional": [["off", 3], ["on", 1]]})), "25 %"),
        (flag("off", json!({"fractional": [user_key, ["on", 1], ["off", 999]]})), "1 %"),
        (flag("off", json!({"fractional": [["on", 999], ["off", 1]]})), "99 %"),
        (flag("off", json!({"fractional": [["on"], ["off"]]})), "50 %"),
        (flag("off", json!({"fractional": [["on", 100]]})), "on"),
        (flag("off", json!({"fractional": [["on", 0], ["off", 100]]})), "off"),
        (flag("off", json!({"fractional": [["on", 10], ["blue", 90]]})), "by rules"),
        (flag("off", json!({"fractional": [["on", {"var": "x"}], ["off", 1]]})), "by rules"),
        (flag("off", json!({"if": [{"ends_with": [{"var": "email"}, "@payments.example"]}, "on", "off"]})), "by rules"),
        (flag("blue", json!({})), "blue"),
        (json!({"state": "ENABLED", "variants": {"yes": true, "no": false}, "defaultVariant": "yes"}), "on"),
        (json!({"state": "ENABLED", "variants": {"on": "x", "off": "y"}, "defaultVariant": "off"}), "off"),
        (
            json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": null}),
            "the code's default",
        ),
        (json!({"state": "ENABLED", "variants": {"small": 1, "big": 2}, "defaultVariant": "big"}), "big"),
        (json!({}), "unknown"),
        (json!(3), "unknown"),
    ] {
        assert_eq!(now(&flag), want, "{flag}");
    }
    let disabled = json!({"state": "DISABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"});
    let read = read("k", &disabled);
    assert!(!read.enabled && !read.note.is_empty());
    assert_eq!(read_all(&definition(flag("on", json!({})))).len(), 2);
}

#[test]
fn a_flip_sets_two_fields() {
    let before = definition(flag("off", json!({})));
    let on = flip(&before, "ledger_nullable", FlagSetting::On).unwrap();
    assert_eq!(on.definition.1, flag("on", json!({})));
    assert_eq!((on.before, on.after), (Now::Set(FlagSetting::Off), Now::Set(FlagSetting::On)));
    let share = flip(&before, "ledger_nullable", FlagSetting::Percent(5)).unwrap();
    assert_eq!(share.definition.1, flag("off", json!({"fractional": [["on", 5], ["off", 95]]})));
    let all = flip(&before, "ledger_nullable", FlagSetting::Percent(100)).unwrap();
    assert_eq!(all.definition.1, flag("on", json!({})));
    assert_eq!(all.after, Now::Set(FlagSetting::On));
}

#[test]
fn what_cannot_be_flipped_is_refused_with_what_to_do() {
    let refused = |definition: &Value, key: &str, setting| {
        let refusal = flip(definition, key, setting).unwrap_err();
        (refusal.why.to_string(), refusal.already)
    };
    let base = definition(flag("off", json!({})));
    let off = FlagSetting::Off;
    assert_eq!(refused(&base, "nobody", off), ("there is no flag nobody".into(), false));
    assert_eq!(flip(&base, "nobody", off).unwrap_err().hint, "it has ledger_nullable, other");
    assert_eq!(refused(&base, "ledger_nullable", off), ("flag ledger_nullable is off already".into(), true));
    assert!(refused(&base, "ledger_nullable", FlagSetting::Percent(0)).1);
    assert_eq!(refused(&base, "ledger_nullable", FlagSetting::Percent(101)).0, "101 % is more than everybody");
    assert_eq!(
        refused(&base, "other", off).0,
        "flag other cannot be switched: its variants are no booleans, and none is named on"
    );
    let disabled = json!({"flags": {"k": {"state": "DISABLED", "variants": {"on": true, "off": false}}}});
    assert_eq!(refused(&disabled, "k", off).0, "flag k is not enabled (state DISABLED)");
    let many = json!({"flags": {"k": {"state": "ENABLED", "variants": {"a": true, "b": true, "c": false}}}});
    assert_eq!(refused(&many, "k", off).0, "flag k cannot be switched: 2 variants of it are true");
    assert_eq!(refused(&json!(null), "k", off).0, "there is no flag k");
}

#[test]
fn rules_of_its_own_are_replaced_with_a_warning() {
    let rules = json!({"if": [{"==": [{"var": "plan"}, "beta"]}, "on", "off"]});
    let flip = flip(&definition(flag("off", rules.clone())), "ledger_nullable", FlagSetting::Off).unwrap();
    assert_eq!(flip.before, Now::Rules);
    assert!(flip.warnings[0].contains("beta"), "{:?}", flip.warnings);
    assert_eq!(flip.definition.0["targeting"], rules, "the journal can bring them back");
    assert_eq!(flip.definition.1["targeting"], json!({}));
}

#[test]
fn which_way_a_flip_goes() {
    use FlagSetting::{Off, On, Percent};
    for (setting, safe, safe_way) in [
        (Off, None, true),
        (On, None, false),
        (Percent(5), None, false),
        (Percent(0), None, true),
        (Off, Some(false), true),
        (On, Some(false), false),
        (On, Some(true), true),
        (Percent(100), Some(true), true),
        (Percent(50), Some(true), false),
        (Off, Some(true), false),
    ] {
        assert_eq!(setting.direction(safe) == Direction::Safe, safe_way, "{setting} {safe:?}");
    }
}

fn id(kind: ObjectKind) -> ObjectRef {
    ObjectRef { cluster: "c".into(), kind, namespace: "payments".into(), name: "payments-flags".into() }
}

fn operations(effect: &Effect) -> Value {
    let Change::Patch(patch) = &effect.change else { panic!("{effect:?}") };
    serde_json::to_value(patch).unwrap()
}

#[test]
fn a_feature_flag_object_is_patched_under_tests() {
    let object =
        Object::new(json!({"metadata": {"uid": "u1"}, "spec": {"flagSpec": definition(flag("off", json!({})))}}));
    let on = FlagSetting::On;
    let (_, effect) = flip_object(&id(ObjectKind::FeatureFlag), &object, None, "ledger_nullable", on, None).unwrap();
    assert_eq!(
        operations(&effect),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u1"},
            {"op": "test", "path": "/spec/flagSpec/flags/ledger_nullable", "value": flag("off", json!({}))},
            {"op": "add", "path": "/spec/flagSpec/flags/ledger_nullable/defaultVariant", "value": "on"},
        ])
    );
    assert_eq!(effect.says, "set flag ledger_nullable to on, before it off");
    assert_eq!(effect.direction, Direction::Forward);
    // A key that would mean something in a pointer stays one key.
    let odd = json!({"metadata": {"uid": "u1"}, "spec": {"flagSpec": {"flags": {"a/b~c": flag("on", json!({}))}}}});
    let off = FlagSetting::Off;
    let (_, effect) = flip_object(&id(ObjectKind::FeatureFlag), &Object::new(odd), None, "a/b~c", off, None).unwrap();
    assert_eq!(operations(&effect)[2]["path"], "/spec/flagSpec/flags/a~1b~0c/defaultVariant");
}

#[test]
fn a_config_map_keeps_the_rest_of_its_file() {
    let text = "{\n  \"flags\": {\n    \"k\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true, \"off\": false}, \"defaultVariant\": \"off\"}\n  }\n}\n";
    let object = Object::new(json!({"metadata": {"uid": "u1"}, "data": {"flags.json": text, "notes": "x"}}));
    let id = id(ObjectKind::ConfigMap);
    let (_, effect) = flip_object(&id, &object, Some("flags.json"), "k", FlagSetting::Percent(5), None).unwrap();
    let after = "{\n  \"flags\": {\n    \"k\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true, \"off\": false}, \"defaultVariant\": \"off\", \"targeting\": {\"fractional\":[[\"on\",5],[\"off\",95]]}}\n  }\n}\n";
    assert_eq!(
        operations(&effect),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u1"},
            {"op": "test", "path": "/data/flags.json", "value": text},
            {"op": "add", "path": "/data/flags.json", "value": after},
        ])
    );
    let immutable = Object::new(json!({"immutable": true, "data": {"flags.json": text}}));
    assert!(flip_object(&id, &immutable, Some("flags.json"), "k", FlagSetting::On, None).is_err());
    assert!(flip_object(&id, &object, Some("absent"), "k", FlagSetting::On, None).is_err());
    assert!(flip_object(&id, &object, Some("notes"), "k", FlagSetting::On, None).is_err());
    assert!(flip_object(&id, &object, None, "k", FlagSetting::On, None).is_err());
}

#[test]
fn a_file_keeps_its_layout_and_order() {
    let text = r#"{
	"$schema": "https://flagd.dev/schema/v0/flags.json",
	"flags": {
		"zebra": { "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on" },
		"ledger_nullable": {
			"variants": { "off": false, "on": true },
			"targeting": { "if": ["{\"}", "on"] },
			"state": "ENABLED",
			"defaultVariant" : "off",
			"metadata": { "note": "a \"quoted\" } brace", "defaultVariant": "not this one" }
		}
	},
	"$evaluators": {}
}"#;
    let (_, after) = flip_text(text, "ledger_nullable", FlagSetting::On).unwrap();
    assert_eq!(
        after,
        text.replace(r#"{ "if": ["{\"}", "on"] }"#, "{}")
            .replace(r#""defaultVariant" : "off""#, r#""defaultVariant" : "on""#)
    );
    assert!(flip_text("{\"flags\": ", "k", FlagSetting::On).unwrap_err().why.contains("no JSON"));
    let bare = r#"{"flags":{"k":{"state":"ENABLED","variants":{"on":true,"off":false}}}}"#;
    let (_, after) = flip_text(bare, "k", FlagSetting::On).unwrap();
    let variants = r#""variants":{"on":true,"off":false}"#;
    assert_eq!(
        after,
        format!(r#"{{"flags":{{"k":{{"state":"ENABLED",{variants},"defaultVariant": "on","targeting": {{}}}}}}}}"#)
    );
}

const YAML: &str = "\
# Flags of payments; who changes one tells #payments-oncall.
flags:
  zebra: {state: ENABLED, variants: {on: true, off: false}, defaultVariant: 'on'}   # older than all of us
  ledger_nullable:
    state: ENABLED        # never disable: the code's default is on
    variants:
      on: true
      off: false
    defaultVariant: off   # until 2025-11
    # Who sees it early:
    targeting:
      if:
      - ends_with: [{var: email}, '@payments.example']
      - on
      - off
    metadata: {owner: payments, hex: 0x1F, day: 2025-10-01}
  last:
    state: ENABLED
    variants: {\"on\": true, \"off\": false}
    defaultVariant: \"off\"
# the end
";

#[test]
fn a_yaml_file_keeps_its_comments_and_layout() {
    let (flip, after) = flip_text(YAML, "ledger_nullable", FlagSetting::On).unwrap();
    assert_eq!((flip.before, flip.after), (Now::Rules, Now::Set(FlagSetting::On)));
    let rules =
        "targeting:\n      if:\n      - ends_with: [{var: email}, '@payments.example']\n      - on\n      - off\n";
    let expected = YAML.replace("defaultVariant: off ", "defaultVariant: \"on\" ").replace(rules, "targeting: {}\n");
    assert_eq!(after, expected);
    let (_, after) = flip_text(YAML, "zebra", FlagSetting::Percent(5)).unwrap();
    let zebra = "defaultVariant: \"off\", \"targeting\": {\"fractional\":[[\"on\",5],[\"off\",95]]}}   # older";
    assert_eq!(after, YAML.replace("defaultVariant: 'on'}   # older", zebra));
    let (_, after) = flip_text(YAML, "last", FlagSetting::On).unwrap();
    assert_eq!(
        after,
        YAML.replace(
            "    defaultVariant: \"off\"\n# the end",
            "    defaultVariant: \"on\"\n    targeting: {}\n# the end"
        )
    );
    let (_, back) = flip_text(&after, "last", FlagSetting::Off).unwrap();
    assert_eq!(read("last", &parse(&back).unwrap()["flags"]["last"]).now, Some(Now::Set(FlagSetting::Off)));
    let windows = YAML.replace('\n', "\r\n");
    let (_, after) = flip_text(&windows, "last", FlagSetting::On).unwrap();
    assert!(after.contains("defaultVariant: \"on\"\r\n    targeting: {}\r\n# the end"), "{after}");
}

#[test]
fn what_yaml_leaves_open_is_closed_and_what_cannot_be_changed_alone_is_refused() {
    let head = "flags:\n  k:\n    state: ENABLED\n    variants: {on: true, off: false}\n";
    for (rest, after) in [
        ("    defaultVariant: off\n    targeting:\n", "    defaultVariant: \"on\"\n    targeting: {}\n"),
        ("    defaultVariant: off\n    targeting: ~", "    defaultVariant: \"on\"\n    targeting: {}"),
        (
            "    targeting: # rules\n      {}\n    defaultVariant: off",
            "    targeting: # rules\n      {}\n    defaultVariant: \"on\"",
        ),
        ("    defaultVariant: >-\n      off\n", "    defaultVariant: \"on\"\n    targeting: {}\n"),
    ] {
        let text = format!("{head}{rest}");
        let (_, changed) = flip_text(&text, "k", FlagSetting::On).unwrap_or_else(|r| panic!("{rest}: {r:?}"));
        assert_eq!(changed, format!("{head}{after}"));
    }
    for (text, why) in [
        ("flags: &all\n  k: {}\n", "anchor"),
        ("flags:\n  k: {}\n---\nflags: {}\n", "second document"),
        ("flags:\n  k: {}\n  k: {}\n", "twice"),
        ("flags:\n\tk: {}\n", "not YAML"),
        ("", "empty"),
        ("flags:\n  other: {}\n", "no flag k"),
    ] {
        let refusal = flip_text(text, "k", FlagSetting::On).unwrap_err();
        assert!(refusal.why.contains(why), "{text:?}: {}", refusal.why);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~é\\n\\\\\"{}\\[\\],:]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\\\\\"{}]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever else is in the file and however it is laid out: the flag says what was ordered, the rest is untouched.
    #[test]
    fn a_flip_of_any_file_changes_the_flag_alone(
        around in json_value(),
        beside in json_value(),
        targeting in json_value(),
        pretty in any::<bool>(),
        percent in 0u8..=100,
        default in prop_oneof![Just("on"), Just("off")],
    ) {
        let document = json!({
            "a": around, "flags": {"first": beside, "k": flag(default, targeting), "last": {"k": {"defaultVariant": 1}}}, "z": [{}],
        });
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let before = read("k", &document["flags"]["k"]).now;
        let setting = FlagSetting::Percent(percent);
        match flip_text(&text, "k", setting) {
            Err(refusal) => {
                prop_assert!(refusal.already);
                prop_assert_eq!(before, Some(Now::Set(setting.plain().unwrap())));
            }
            Ok((_, after)) => {
                let mut is: Value = serde_json::from_str(&after).unwrap();
                prop_assert_eq!(read("k", &is["flags"]["k"]).now, Some(Now::Set(setting.plain().unwrap())));
                for field in ["defaultVariant", "targeting"] {
                    is["flags"]["k"][field] = document["flags"]["k"][field].clone();
                }
                prop_assert_eq!(is, document);
            }
        }
    }

    /// The same in YAML, with comments on every line that can bear one.
    #[test]
    fn a_flip_of_any_yaml_file_changes_the_flag_alone(
        targeting in json_value(),
        percent in 0u8..=100,
        default in prop_oneof![Just("on"), Just("off")],
        indent in 1usize..5,
        order in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let lines = [
            "state: ENABLED".to_owned(),
            "variants: {on: true, off: false}".to_owned(),
            format!("defaultVariant: {default}"),
            format!("targeting: {targeting}"),
        ];
        let pad = " ".repeat(indent);
        let body: Vec<String> = order.iter().map(|n| format!("{pad}{pad}{} # note {n}", lines[*n])).collect();
        let text = format!("# head\nflags:\n{pad}a: 1 # a\n{pad}k:\n{}\n{pad}z: [1, x] # z\n# tail\n", body.join("\n"));
        let before = parse(&text).unwrap();
        let setting = FlagSetting::Percent(percent);
        match flip_text(&text, "k", setting) {
            Err(refusal) => prop_assert!(refusal.already, "{}: {}", refusal.why, text),
            Ok((_, after)) => {
                let mut is = parse(&after).unwrap();
                prop_assert_eq!(read("k", &is["flags"]["k"]).now, Some(Now::Set(setting.plain().unwrap())));
                for field in ["defaultVariant", "targeting"] {
                    is["flags"]["k"][field] = before["flags"]["k"][field].clone();
                }
                prop_assert_eq!(&is, &before);
                for note in ["# head", "# a", "# note 0", "# note 1", "# note 2", "# note 3", "# z", "# tail"] {
                    prop_assert!(after.contains(note), "{} is gone from\n{}", note, after);
                }
            }
        }
    }

    /// Hostile text never panics.
    #[test]
    fn any_text_is_answered(text in "[\\x00-\\x7f]{0,60}|\\{\"flags\": ?\\{\"k\".{0,30}|flags:\n  k:\n    [ -~\n]{0,60}") {
        let _answered = flip_text(&text, "k", FlagSetting::On);
        let _spliced = splice::set(&text, &["flags", "k", "defaultVariant"], "1");
    }
}
