//! Reads request bodies in the protobuf form that typed Go clients send for built-in kinds (`kubectl create`,
//! `kubectl auth can-i`, other people's controllers), into the JSON form of the same object. Answers are always JSON,
//! which those clients take too. The numbers of the fields are data: `messages.txt`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may nest.
const DEPTH: usize = 64;

struct Field {
    name: &'static str,
    ty: &'static str,
    form: Form,
    keep_zero: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    List,
    Map,
}

type Messages = BTreeMap<&'static str, BTreeMap<u64, Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let lines = include_str!("protobuf/messages.txt").lines().filter(|l| !l.starts_with('#'));
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, fields)| (name, fields.split(' ').filter_map(field).collect()))
            .collect()
    })
}

fn field(text: &'static str) -> Option<(u64, Field)> {
    let mut parts = text.splitn(3, ':');
    let (number, name, ty) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let (ty, keep_zero) = ty.strip_suffix('!').map_or((ty, false), |t| (t, true));
    let (ty, form) = match (ty.strip_suffix("[]"), ty.strip_suffix("{}")) {
        (Some(ty), _) => (ty, Form::List),
        (_, Some(ty)) => (ty, Form::Map),
        _ => (ty, Form::One),
    };
    Some((number, Field { name, ty, form, keep_zero }))
}

/// The object in a body.
///
/// # Errors
/// What is wrong with the bytes, or that no message of this name is known.
pub fn decode(body: &[u8]) -> Result<Value, String> {
    let envelope = body.strip_prefix(MAGIC).ok_or("the body does not begin as Kubernetes protobuf does")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in Parts(envelope) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in Parts(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let package = match api_version.as_str() {
        _ if kind == "DeleteOptions" => "meta",
        "v1" => "core",
        "apps/v1" => "apps",
        "batch/v1" => "batch",
        "networking.k8s.io/v1" => "networking",
        "policy/v1" => "policy",
        "coordination.k8s.io/v1" => "coordination",
        "authorization.k8s.io/v1" => "authorization",
        "events.k8s.io/v1" => "events",
        "autoscaling/v2" => "hpa",
        "autoscaling/v1" => "scale",
        _ => "",
    };
    let message = format!("{package}.{kind}");
    let mut object = Map::new();
    fill(&mut object, raw, &message, DEPTH)?;
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

/// Reads a message into an object. Numbers that are not known are passed over, as a server of another version does.
fn fill(object: &mut Map<String, Value>, bytes: &[u8], message: &str, depth: usize) -> Result<(), String> {
    let fields = messages().get(message).ok_or_else(|| format!("no protobuf message {message:?} is known here"))?;
    let depth = depth.checked_sub(1).ok_or("the message nests too deep")?;
    for part in Parts(bytes) {
        let (number, wire) = part?;
        let Some(field) = fields.get(&number) else { continue };
        if field.name.is_empty() {
            if let Wire::Bytes(inner) = wire {
                fill(object, inner, field.ty, depth)?;
            }
            continue;
        }
        match field.form {
            Form::Map => {
                let (mut key, mut value) = (String::new(), Value::Null);
                for part in Parts(wire.bytes()?) {
                    match part? {
                        (1, wire) => key = utf8(wire.bytes()?)?,
                        (2, wire) => value = read(wire, field.ty, depth)?,
                        _ => {}
                    }
                }
                object.entry(field.name).or_insert_with(|| json!({}))[key] = value;
            }
            Form::List => {
                let value = read(wire, field.ty, depth)?;
                if let Value::Array(list) = object.entry(field.name).or_insert_with(|| json!([])) {
                    list.push(value);
                }
            }
            Form::One => {
                let value = read(wire, field.ty, depth)?;
                let zero = value.is_null()
                    || (!field.keep_zero && [json!(""), json!(0), json!(false), json!({})].contains(&value));
                if !zero {
                    object.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn read(wire: Wire<'_>, ty: &str, depth: usize) -> Result<Value, String> {
    Ok(match ty {
        "s" => json!(utf8(wire.bytes()?)?),
        "i" => json!(wire.int()?),
        "b" => json!(wire.int()? != 0),
        "d" => match wire {
            Wire::Fixed(bits) => json!(f64::from_bits(bits)),
            _ => return Err("a number has another form than its type".to_owned()),
        },
        "bytes" => json!(base64(wire.bytes()?)),
        "time" | "microtime" => {
            let (mut seconds, mut nanos) = (None, 0);
            for part in Parts(wire.bytes()?) {
                match part? {
                    (1, wire) => seconds = Some(wire.int()?),
                    (2, wire) => nanos = wire.int()?,
                    _ => {}
                }
            }
            let Some(seconds) = seconds else { return Ok(Value::Null) };
            let nanos = i32::try_from(nanos).map_err(|e| e.to_string())?;
            let time = Timestamp::new(seconds, nanos).map_err(|e| e.to_string())?;
            let form = if ty == "time" { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
            json!(time.strftime(form).to_string())
        }
        "quantity" => json!(utf8(first(wire.bytes()?, 1)?)?),
        "rawjson" => serde_json::from_slice(first(wire.bytes()?, 1)?).map_err(|e| e.to_string())?,
        "intorstring" => {
            let (mut text, mut number, mut is_text) = (String::new(), 0, false);
            for part in Parts(wire.bytes()?) {
                match part? {
                    (1, wire) => is_text = wire.int()? == 1,
                    (2, wire) => number = wire.int()?,
                    (3, wire) => text = utf8(wire.bytes()?)?,
                    _ => {}
                }
            }
            if is_text { json!(text) } else { json!(number) }
        }
        message => {
            let mut object = Map::new();
            fill(&mut object, wire.bytes()?, message, depth)?;
            Value::Object(object)
        }
    })
}

/// The bytes of a field of a small message; none count as empty.
fn first(bytes: &[u8], number: u64) -> Result<&[u8], String> {
    for part in Parts(bytes) {
        match part? {
            (found, Wire::Bytes(inner)) if found == number => return Ok(inner),
            _ => {}
        }
    }
    Ok(&[])
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())
}

/// A value in its wire form.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Int(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("a text or message has another form than its type".to_owned()),
        }
    }

    fn int(self) -> Result<i64, String> {
        match self {
            Self::Int(bits) => Ok(bits.cast_signed()),
            _ => Err("an integer has another form than its type".to_owned()),
        }
    }
}

/// The fields of a message, in order: number and wire form. Ends at the first error.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn part(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Int(self.varint()?),
            1 => Wire::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed(u64::from(u32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            _ => return None,
        };
        Some((tag >> 3, wire))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_none() {
            self.0 = &[];
        }
        Some(part.ok_or_else(|| "the protobuf message is cut off or broken".to_owned()))
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = char::from(LETTERS[(bits >> shift & 63) as usize]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
        let tag = u16::from(number) << 3 | 2;
        let mut out = vec![u8::try_from(tag & 0x7f).unwrap()];
        if tag > 0x7f {
            out[0] |= 0x80;
            out.push(u8::try_from(tag >> 7).unwrap());
        }
        out.push(u8::try_from(inner.len()).unwrap());
        out.extend_from_slice(inner);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_config_map_reads_as_its_json() {
        // What Go writes for a fresh object: empty texts and an empty creation time among the rest.
        let metadata = [bytes(1, b"c"), bytes(2, b""), bytes(8, b"")].concat();
        let entry = [bytes(1, b"k"), bytes(2, b"v")].concat();
        let raw = [bytes(1, &metadata), bytes(2, &entry), bytes(3, &[bytes(1, b"b"), bytes(2, b"\x00\xff")].concat())]
            .concat();
        assert_eq!(
            decode(&envelope("v1", "ConfigMap", &raw)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" },
                "data": { "k": "v" }, "binaryData": { "b": "AP8=" },
            })
        );
    }

    #[test]
    fn zeros_that_were_meant_stay_and_inlined_messages_join_their_parent() {
        // replicas 0 behind a pointer, minReadySeconds 0 without one, strategy with "25%" and 1.
        let percent = [vec![8, 1], bytes(3, b"25%")].concat();
        let rolling = [bytes(1, &percent), bytes(2, &[8, 0, 16, 1])].concat();
        let spec = [vec![8, 0, 40, 0], bytes(4, &bytes(2, &rolling))].concat();
        let deployment = decode(&envelope("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
        assert_eq!(
            deployment["spec"],
            json!({ "replicas": 0, "strategy": { "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": 1 } } })
        );
        let volume = [bytes(1, b"v"), bytes(2, &bytes(19, &bytes(1, &bytes(1, b"cm"))))].concat();
        let pod = decode(&envelope("v1", "Pod", &bytes(2, &bytes(1, &volume)))).unwrap();
        assert_eq!(pod["spec"]["volumes"][0], json!({ "name": "v", "configMap": { "name": "cm" } }));
    }

    #[test]
    fn every_message_that_is_named_is_there() {
        let scalars = ["s", "i", "b", "d", "bytes", "time", "microtime", "quantity", "intorstring", "rawjson"];
        for (name, fields) in messages() {
            for field in fields.values() {
                let known = scalars.contains(&field.ty) || messages().contains_key(field.ty);
                assert!(known, "{name}.{} has type {}", field.name, field.ty);
            }
        }
        assert!(messages().len() > 200);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&envelope("v1", "Pod", &raw[..raw.len().min(100)]));
            let _ = decode(&raw);
        }
    }
}
