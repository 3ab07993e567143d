//! What must hold for whatever comes in at a door, each as a function of the bytes.
//!
//! Not only "no panic": what is accepted can be written again and read again to the same, and says the same under a
//! signature as without. Time and memory are limited by the fuzzer (`cargo xtask fuzz` sets both).

mod bundles;
mod modbus;
mod payloads;
mod sign;
mod sites;
mod weighing;

use std::sync::OnceLock;

use gateway_model::GatewayId;
use gateway_wire::{
    Configuration, Opened, Order, Receipt, SigningKey, hash, open, pack_orders, peek, reread, seal,
    unpack_orders,
};

pub use bundles::{bundle, change_bundle};
pub use modbus::modbus;
pub use payloads::payload;
pub use sites::{change_site, site};
pub use weighing::{change_weighing, weighing};

/// The gateway of `gateway/wire/golden`.
const GATEWAY: [u8; 32] = [7; 32];
/// The center of all golden files.
const CENTER: [u8; 32] = [9; 32];

/// Under this name in the environment every target has a bug on purpose, which a run has to find: `cargo xtask fuzz --control`.
const PLANTED: &str = "NONSITE_FUZZ_PLANTED";

/// The bug on purpose of a target: it lies behind everything that an input has to get through, and no seed meets it.
pub(crate) fn planted(met: impl FnOnce() -> bool) {
    static THERE: OnceLock<bool> = OnceLock::new();
    let there = *THERE.get_or_init(|| std::env::var_os(PLANTED).is_some());
    assert!(!(there && met()), "the planted bug");
}

/// A record: read with and without its signature, and written again.
pub fn record(bytes: &[u8]) {
    let gateway = SigningKey::from_bytes(&GATEWAY);
    let known = gateway.verifying_key();
    let peeked = peek(bytes);
    let read = reread(bytes);
    if let (Ok((header, _)), Ok(opened)) = (&peeked, &read) {
        assert_eq!(*header, opened.header, "both read the same header");
    }
    // Without its key nobody's signature is good; with it what is read is what stands there.
    if let Ok(opened) = open(&known, bytes) {
        assert_eq!(
            format!("{opened:?}"),
            format!("{:?}", read.as_ref().expect("open says more than reread"))
        );
    }
    let Ok(Opened { header, body: Ok(body) }) = read else { return };
    planted(|| header.epoch.0 != 3);
    let once = seal(&gateway, &header, &body);
    let again = reread(&once).expect("what was understood can be written so that it is understood");
    assert_eq!(again.header, header, "the header comes back");
    let said = again.body.expect("the body comes back");
    // By its text: a NaN equals nothing.
    assert_eq!(format!("{said:?}"), format!("{body:?}"), "the body comes back");
    assert_eq!(seal(&gateway, &header, &said), once, "and is written the same a second time");
    // The same under a good signature.
    if let Some(signed) = sign::anew(bytes, &gateway, None) {
        match open(&known, &signed) {
            Ok(opened) => assert_eq!(opened.header, header),
            Err(_) => assert_ne!(header.gateway, gateway.gateway_id(), "a good record is refused"),
        }
    }
}

/// A receipt: written again, it is read as the same.
pub fn receipt(bytes: &[u8]) {
    let Ok(receipt) = Receipt::decode(bytes) else { return };
    planted(|| receipt.window != 64);
    let written = receipt.encode();
    // Fields of a later release are left out; nothing else may differ.
    assert!(written == bytes || written.len() < bytes.len(), "written longer than it was read");
    let again = Receipt::decode(&written).expect("what was read can be written so that it is read");
    assert_eq!(again, receipt);
    assert_eq!(again.encode(), written);
}

/// A configuration: of what is taken, one writing is allowed, and it is called by the hash of that.
pub fn configuration(bytes: &[u8]) {
    let Ok(configuration) = Configuration::decode(bytes) else { return };
    planted(|| configuration.files.iter().any(|(name, _)| name != "own.toml"));
    assert_eq!(configuration.encode(), bytes);
    assert_eq!(configuration.id(), hash(bytes));
    for (name, text) in &configuration.files {
        assert_eq!(configuration.file(name), Some(text.as_str()));
    }
}

/// An answer with orders, and one order under a good signature.
pub fn order(bytes: &[u8]) {
    if let Ok(orders) = unpack_orders(bytes) {
        let packed = pack_orders(&orders);
        assert_eq!(unpack_orders(&packed).expect("what was unpacked can be packed"), orders);
        assert_eq!(packed, bytes, "of an answer one writing is allowed");
    }
    let center = SigningKey::from_bytes(&CENTER);
    let gateway = SigningKey::from_bytes(&GATEWAY).gateway_id();
    let stranger = SigningKey::from_bytes(&[1; 32]);
    assert!(Order::open(&stranger.verifying_key(), gateway, bytes).is_err(), "nobody signed with this key");
    let Some(signed) =
        sign::anew(sign::GOLDEN_ORDER, &center, Some(sign::payload(bytes).as_deref().unwrap_or(bytes)))
    else {
        return;
    };
    let Ok(order) = Order::open(&center.verifying_key(), gateway, &signed) else { return };
    planted(|| order.expires.0.wrapping_sub(order.issued.0) != 600_000);
    let sealed = order.seal(&center);
    assert!(sealed.len() <= signed.len(), "written longer than it was read");
    let again =
        Order::open(&center.verifying_key(), gateway, &sealed).expect("an order can be written again");
    assert_eq!(again, order);
    assert!(
        Order::open(&center.verifying_key(), GatewayId([0; 16]), &sealed).is_err(),
        "for another gateway"
    );
}
