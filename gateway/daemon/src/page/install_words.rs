//! The installation's words in the two languages.

use super::words::Lang;

macro_rules! words {
    ($($name:ident: $zh:literal, $en:literal;)*) => {
        /// What the installation's pages say.
        pub(super) struct InstallWords {
            $(pub(super) $name: &'static str,)*
        }
        const ZH: InstallWords = InstallWords { $($name: $zh,)* };
        const EN: InstallWords = InstallWords { $($name: $en,)* };
    };
}

words! {
    title: "安装调试", "Installation";
    code: "安装码", "Installer's code";
    code_hint: "由运维人员在网关上用 gateway installer 命令取得，8 位数字", "Eight digits, from `gateway installer` at the gateway";
    enter: "进入", "Enter";
    closed: "安装页面未开放。请在网关上运行 gateway installer --by 人员编号 --data 数据目录，取得安装码。", "The page is closed. Run `gateway installer --by ID --data DIR` at the gateway for a code.";
    wrong: "安装码不对，剩余次数", "That is not the code; tries left";
    progress: "已验收", "Accepted";
    buses: "总线", "Buses";
    devices: "设备", "Devices";
    found: "已找到", "found";
    partly: "部分测点无读数", "some points have no reading";
    missing: "没有应答", "does not answer";
    waiting: "等待首次读数", "waiting for the first reading";
    accepted: "已验收", "accepted";
    changed: "有改动，须再次确认", "changed since: confirm again";
    open: "待验收", "to be accepted";
    readdress: "改地址、改波特率不在本页：须停止网关、总线上只接一台，用命令 gateway commission。", "Unit ids and speeds are not changed here: stop the gateway, connect one device alone, and use `gateway commission`.";
    sheet: "安装验收单", "Acceptance sheet";
    leave: "结束安装", "Close the page";
    back: "返回设备列表", "Back to the list";
    live: "实时读数", "Reading now";
    ago: "秒前应答", "s ago";
    reference: "标准器读数", "Reference";
    reference_hint: "填标准器此刻的示值，留空则不比对", "what the reference instrument shows now; empty = not compared";
    accuracy: "允许误差", "may be off by";
    no_accuracy: "未规定允许误差，只记录偏差", "no accuracy stated: the deviation is recorded, not judged";
    shown: "示值", "Shown";
    deviation: "偏差", "Deviation";
    verdict: "结论", "Verdict";
    within: "合格", "within";
    outside: "超差", "outside";
    unstated: "未判定", "not judged";
    not_compared: "未比对", "not compared";
    place: "安装位置", "Measuring place";
    serial: "出厂编号（铭牌）", "Serial number as printed";
    review: "技术审核编号（可空）", "Number of the technical review (may be empty)";
    photos: "照片", "Photos";
    photos_hint: "JPEG 或 PNG，每张不超过 8 MB，每台最多 6 张：仪表铭牌、警示标志、安装位置", "JPEG or PNG, at most 8 MB each and 6 of a device: its plate, the sign, the place";
    drop: "删除", "remove";
    save: "比对并保存", "Compare and save";
    confirm: "确认验收", "Confirm";
    outside_ok: "有超差，仍然确认", "Confirm although it is outside";
    outside_stop: "有测点超出允许误差：先处理；如仍须确认，请勾选“有超差，仍然确认”。", "A point is outside its accuracy: mend it first, or tick “Confirm although it is outside”.";
    unseen_stop: "设备没有读数，不能验收。请检查电源、接线和地址。", "The device has no reading: it cannot be accepted. Check power, wiring and unit id.";
    place_stop: "请填写安装位置和出厂编号。", "Place and serial number are needed.";
    saved: "已保存", "Saved";
    confirmed: "已验收并写入记录", "Accepted and on record";
    by: "安装人", "Installed by";
    at: "时间", "Time";
    site: "场所", "Site";
    gateway: "网关", "Gateway";
    not_accepted: "尚未验收", "Not accepted yet";
    trial: "试运行开始", "Trial run begins";
    accepted_by: "使用单位", "Accepted by";
    print: "请用浏览器的打印功能打印或存为 PDF。", "Use the browser's print function for paper or PDF.";
    of_it: "数值、照片的 SHA-256 与本表一起写在签名记录中。", "Values and the SHA-256 of each photo stand in the signed record.";
    other_lang: "English", "中文";
    status: "网关状态", "Gateway status";
    simulated: "演示数据：模拟时钟，不作为证据", "Demonstration: simulated clock, never evidence";
}

impl InstallWords {
    pub(super) fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Zh => &ZH,
            Lang::En => &EN,
        }
    }
}
