//! The acceptance sheet 安装验收单, and the lines for the site file. Pure.

use std::fmt::Write as _;

use super::dialogue::Installed;
use crate::config::Card;

/// A photo of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Id of the device.
    pub device: String,
    /// Where it lies.
    pub file: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// The sheet, Markdown, in both languages. `when`: as a person writes it.
pub fn sheet(card: &Card, bus: &str, when: &str, installed: &[Installed], pictures: &[Picture]) -> String {
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _head = write!(
        page,
        "# 安装验收单 · Acceptance sheet\n\n\
         日期 date: {when}  \n总线 bus: {bus}  \n仪表 instrument: {} · {} ({}, 出厂 as shipped {})\n",
        card.title.zh, card.title.en, card.profile, card.serial
    );
    for (n, device) in installed.iter().enumerate() {
        let baud = match device.baud {
            None => "未改 unchanged".to_owned(),
            Some(baud) if device.met => format!("{baud} bit/s 已按此速率读回 read back at it"),
            Some(baud) => {
                format!("{baud} bit/s 已写入,串口服务器须设为此速率 written; set the serial server to it")
            }
        };
        let or_none = |text: &str| if text.is_empty() { "—".to_owned() } else { text.to_owned() };
        let _device = write!(
            page,
            "\n## {}. {} · {}\n\n\
             | 位置 place | 出厂编号 serial | 地址 unit id | 原地址 was | 速率 speed |\n|---|---|---|---|---|\n\
             | {} | {} | {} | {} | {baud} |\n\n\
             | 参数 value | 示值 shown | 标准值 reference | 差 difference | 单位 unit |\n|---|---|---|---|---|\n",
            n + 1,
            cell(&device.name),
            device.id,
            or_none(&cell(&device.place)),
            or_none(&cell(&device.serial)),
            device.unit,
            device.was,
        );
        for ((field, value, unit), reference) in &device.values {
            let (shown, difference) = reference.map_or_else(
                || ("未比对 not compared".to_owned(), "—".to_owned()),
                |reference| (reference.to_string(), format!("{:+.3}", value - reference)),
            );
            let _value = writeln!(page, "| {field} | {value} | {shown} | {difference} | {unit} |");
        }
        if device.values.is_empty() {
            page.push_str("| — | 无读数 no value | — | — | — |\n");
        }
        for Picture { file, sha256, .. } in pictures.iter().filter(|picture| picture.device == device.id) {
            let _picture = write!(page, "\n![照片 photo](<{file}>)  \nSHA-256 `{sha256}`\n");
        }
    }
    page.push_str(
        "\n试运行开始 trial run begins: ____________\n\n安装人 installed by: ____________  使用单位 accepted by: ____________\n",
    );
    page
}

/// One line for each device, to paste into the site file.
pub fn lines(card: &Card, bus: &str, installed: &[Installed]) -> String {
    let options = if card.options.is_empty() {
        String::new()
    } else {
        let options: Vec<String> = card.options.iter().map(|name| format!("{name} = …")).collect();
        format!(", options = {{ {} }}", options.join(", "))
    };
    let mut lines = String::new();
    for device in installed {
        let name = serde_json::Value::from(device.name.as_str());
        let _line = writeln!(
            lines,
            "[[device]]\nid = \"{}\"\nkind = \"sensor\"\nname = {{ zh = {name}, en = {name} }}\n\
             read = [{{ bus = \"{bus}\", unit = {}, profile = \"{}\"{options} }}]\n",
            device.id, device.unit, card.profile
        );
    }
    lines
}

/// A text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cards;

    #[test]
    fn a_photo_stands_below_its_device_with_its_hash() {
        let card = cards().into_iter().find(|card| card.profile == "xy-md02").unwrap();
        let device = |id: &str| Installed {
            id: id.into(),
            name: id.into(),
            place: String::new(),
            serial: String::new(),
            unit: 2,
            was: 1,
            baud: None,
            met: false,
            values: Vec::new(),
        };
        let picture = Picture { device: "b".into(), file: "my plate.jpg".into(), sha256: "ab".repeat(32) };
        let page = sheet(&card, "bus-1", "2026-11-23", &[device("a"), device("b")], &[picture]);
        let (first, second) = page.split_once("## 2. b").unwrap();
        assert!(!first.contains("SHA-256"), "{first}");
        assert!(
            second.contains(&format!("![照片 photo](<my plate.jpg>)  \nSHA-256 `{}`", "ab".repeat(32))),
            "{second}"
        );
    }
}
