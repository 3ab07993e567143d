//! Every register map as its manual says, byte for byte where domain.md has a frame.

use firmware_sim::face::answer::Act;
use firmware_sim::face::frame::{Request, rtu};
use firmware_sim::world::World;

use super::{at, hex, world};

fn endpoint(world: &World, name: &str) -> usize {
    world.endpoints().iter().position(|e| e.name == name).unwrap()
}

/// The answer PDU to a request PDU, asked over RTU.
fn ask(world: &mut World, bus: &str, unit: u8, pdu: &str) -> Vec<u8> {
    let endpoint = endpoint(world, bus);
    let acts = world.ask(endpoint, &Request { transaction: None, unit, pdu: hex(pdu) });
    let [Act::Send(frame)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(frame[0], unit);
    assert_eq!(rtu(unit, &frame[1..frame.len() - 2]), *frame, "checksum");
    frame[1..frame.len() - 2].to_vec()
}

#[test]
fn mb8art_tenths_and_sentinels() {
    let mut world = world("hotel");
    world.step_to(at(0, 0, 1));
    world.force("cabinet-1/temperature", Some(30.5)).unwrap();
    world.force("cabinet-2/temperature", Some(-12.3)).unwrap();
    // 30.5 °C is 0131, as in domain.md C.1; −12.3 is FF85; an open channel is 30000 = 7530.
    assert_eq!(ask(&mut world, "modules", 1, "04 00 00 00 03"), hex("04 06 01 31 FF 85 75 30"));
    world.clear(None);
    world.inject("cabinet-1/temperature", fault("open"), None).unwrap();
    world.inject("cabinet-2/temperature", fault("short"), None).unwrap();
    assert_eq!(ask(&mut world, "modules", 1, "04 00 00 00 02"), hex("04 04 75 30 8A D0"));
    // Discrete inputs: which channels are connected.
    assert_eq!(ask(&mut world, "modules", 1, "02 00 00 00 08"), hex("02 01 00"));
    world.clear(None);
    assert_eq!(ask(&mut world, "modules", 1, "02 00 00 00 08"), hex("02 01 03"));
    assert_eq!(ask(&mut world, "modules", 1, "03 00 80 00 01"), hex("03 02 02 00"), "channel type PT100");
}

#[test]
fn waveshare_bit_0_is_di1() {
    let mut world = world("hotel");
    world.step_to(at(0, 0, 1));
    world.force("cabinet-2/door", Some(1.0)).unwrap();
    assert_eq!(ask(&mut world, "modules", 2, "02 00 00 00 08"), hex("02 01 02"));
    assert_eq!(ask(&mut world, "modules", 2, "02 00 01 00 01"), hex("02 01 01"));
    assert_eq!(ask(&mut world, "modules", 2, "01 00 00 00 08"), hex("01 01 00"));
}

#[test]
fn sdm120_floats_high_word_first() {
    let mut world = world("hotel");
    world.step_to(at(0, 0, 1));
    world.force("meter-1/voltage", Some(230.5)).unwrap();
    world.force("meter-1/total", Some(1842.5)).unwrap();
    // 230.5 = 4366 8000, 1842.5 = 44E6 5000 as IEEE 754.
    assert_eq!(ask(&mut world, "meters", 1, "04 00 00 00 02"), hex("04 04 43 66 80 00"));
    assert_eq!(ask(&mut world, "meters", 1, "04 01 56 00 02"), hex("04 04 44 E6 50 00"));
    assert_eq!(ask(&mut world, "meters", 1, "04 00 60 00 02"), hex("84 02"));
}

#[test]
fn pressure_probe_lamp_and_scale() {
    let mut clinic = world("clinic");
    clinic.step_to(at(0, 0, 1));
    clinic.force("sterilizer-1/pressure", Some(-80.0)).unwrap();
    clinic.force("lamp-1/irradiance", Some(92.4)).unwrap();
    clinic.force("lamp-1/hours", Some(10_000.1)).unwrap();
    // One decimal: −80.0 kPa is −800 = FCE0.
    assert_eq!(ask(&mut clinic, "steam", 2, "03 00 03 00 02"), hex("03 04 00 01 FC E0"));
    assert_eq!(ask(&mut clinic, "uv", 5, "03 00 08 00 01"), hex("03 02 00 09"), "0.9 W/m²");
    assert_eq!(ask(&mut clinic, "uv", 5, "03 00 02 00 01"), hex("83 02"), "a hole");
    assert_eq!(ask(&mut clinic, "uv", 4, "03 00 00 00 03"), hex("03 06 03 9C 00 01 86 A1"));

    let mut hospital = world("hospital");
    hospital.step_to(at(0, 0, 1));
    hospital.force("scale-1/net", Some(-158.89)).unwrap();
    // The net reply of domain.md C.5, checksum and all.
    let endpoint = endpoint(&hospital, "scale");
    let request = Request { transaction: None, unit: 1, pdu: hex("03 00 52 00 02") };
    assert_eq!(hospital.ask(endpoint, &request), [Act::Send(hex("01 03 04 FF FF C1 EF EA 0B"))]);
    // Status: two decimals, minus, at zero.
    assert_eq!(ask(&mut hospital, "scale", 1, "03 00 08 00 01"), hex("03 02 00 8A"));
    assert_eq!(ask(&mut hospital, "scale", 1, "03 00 56 00 02"), hex("03 04 00 00 17 70"), "60.00 kg");
}

#[test]
fn refusals_by_the_book() {
    let mut world = world("hotel");
    for (pdu, answer, why) in [
        ("06 00 00 00 01", "86 01", "writes are not for this device"),
        ("05 00 00 FF 00", "85 01", "nor are coils"),
        ("10 00 00 00 01 02 00 01", "90 01", "nor many"),
        ("2B 0E 01 00", "AB 01", "identification is unknown"),
        ("01 00 00 00 01", "81 01", "an MB8ART has no coils"),
        ("04 00 08 00 01", "84 02", "beyond the last channel"),
        ("04 00 07 00 02", "84 02", "reaching beyond it"),
        ("04 FF FF 00 02", "84 02", "beyond the last address"),
        ("04 00 00 00 00", "84 03", "none"),
        ("04 00 00 00 7E", "84 03", "126 registers"),
        ("02 00 00 07 D1", "82 03", "2001 bits"),
        ("04 00 00", "84 03", "a request cut short"),
    ] {
        assert_eq!(ask(&mut world, "modules", 1, pdu), hex(answer), "{why}");
    }
    let tcp = Request { transaction: Some(7), unit: 99, pdu: hex("04 00 00 00 01") };
    assert_eq!(
        world.ask(0, &tcp),
        [Act::Send(hex("00 07 00 00 00 03 63 84 0B"))],
        "nobody there, says the gateway"
    );
    let line = Request { transaction: None, ..tcp };
    assert_eq!(world.ask(0, &line), [], "nobody there, says nobody");
}

fn fault(word: &str) -> firmware_sim::fault::Fault {
    firmware_sim::fault::Fault::parse(word, None).unwrap()
}
