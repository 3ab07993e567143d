//! What profiles make of values that real instruments sent (domain C), and that a slip of a decimal does not pass as a
//! measurement.

use gateway_model::{Raw, Unit};

use super::profile::{Field, Form, embedded, parse};
use super::{Site, load_str};

fn site(profile: &str, options: &str, field: &str) -> Site {
    let text = format!(
        "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"点\", en = \"Site\" }}\n\
         [[bus]]\nname = \"b\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:502\"\n\
         [[device]]\nid = \"d\"\nkind = \"sensor\"\nname = {{ zh = \"点\", en = \"D\" }}\n\
         [[device.read]]\nbus = \"b\"\nunit = 1\nprofile = \"{profile}\"\n{options}map = {{ x = \"{field}\" }}\n"
    );
    load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{profile} {field}: {problems:?}"))
}

/// The value of a raw number, and whether intake would believe it.
fn shown(profile: &str, options: &str, field: &str, raw: i64) -> (f64, bool) {
    let site = site(profile, options, field);
    let point = &site.plan.points[0];
    let value = Raw::Int(raw).value(point.gain, point.offset).unwrap();
    let within = point.span.is_none_or(|(low, high)| (low..=high).contains(&value));
    ((value * 1e9).round() / 1e9, within && !point.sentinels.contains(&raw))
}

#[test]
fn captured_values_mean_what_their_instruments_showed() {
    let scale = "options = { decimals = 2, unit = \"kg\" }\n";
    let pressure = "options = { decimals = 1, unit = \"kPa\" }\n";
    for (profile, options, field, raw, expected, believed) in [
        // 01 04 02 01 31 79 74
        ("xy-md02", "", "temperature", 0x0131, 30.5, true),
        ("md02", "", "temperature", 0x0131, 3.05, true),
        // The clone's 30.50 °C read as XY-MD02, and the other way round: the first is caught.
        ("xy-md02", "", "temperature", 3050, 305.0, false),
        ("md02", "", "temperature", 3050, 30.5, true),
        ("rs-ws-n01", "", "humidity", 505, 50.5, true),
        ("mb8art", "", "channel-1", 30_000, 3000.0, false),
        ("mb8art", "", "channel-1", -30_000, -3000.0, false),
        ("mb8art", "", "channel-1", 1213, 121.3, true),
        // 01 03 04 FF FF C1 EF EA 0B
        ("scale-transmitter", scale, "net", -15_889, -158.89, true),
        ("pressure-transmitter", pressure, "pressure", 2043, 204.3, true),
        ("jxbs-o3", "", "ozone", 10, 0.196, true),
        ("pzem-016", "", "import", 1_842_500, 1_842_500.0, true),
        ("dds238", "", "voltage", 2305, 230.5, true),
        // 65535 where a sensor is missing: never a humidity.
        ("shtc3", "", "humidity", 0xFFFF, 6553.5, false),
        ("jxct-air", "", "temperature", 0x7FFF, 3276.7, false),
    ] {
        assert_eq!(shown(profile, options, field, raw), (expected, believed), "{profile} {field} {raw}");
    }
}

/// What a room, a socket or the mains have: a reading ten times that is a wrong profile, not a measurement.
const USUAL: [(Unit, f64); 4] =
    [(Unit::Celsius, 25.0), (Unit::Percent, 50.0), (Unit::Volt, 230.0), (Unit::Hertz, 50.0)];

#[test]
fn spans_catch_a_slip_of_a_decimal() {
    let (mut caught, mut beyond) = (0, Vec::new());
    for source in embedded() {
        let profile = parse(&source).unwrap();
        let Form::Modbus(fields) = &profile.form else { continue };
        for Field { name, unit, span, .. } in fields {
            assert!(span.is_some() || *unit == Unit::Truth, "{}: {name} has no span", profile.name);
            let usual = USUAL.iter().find(|(of, _)| of == unit).map(|(_, usual)| *usual);
            let (Some(usual), Some((low, high))) = (usual, *span) else { continue };
            assert!((low..=high).contains(&usual), "{}: {name} cannot show {usual}", profile.name);
            if (low..=high).contains(&(usual * 10.0)) {
                beyond.push(profile.name.clone());
            } else {
                caught += 1;
            }
        }
    }
    beyond.dedup();
    // A platinum probe may be in an oven: 250 °C is a measurement there.
    assert_eq!(beyond, ["mb8art"]);
    assert!(caught > 20, "{caught}");
}
