//! Why a command was not carried out, in words for the person who asked.

use gateway_model::Text;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $code:literal, $zh:literal, $en:literal;)*) => {
        /// Why not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in the API.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the person reads.
            pub fn text(self) -> Text {
                match self { $(Self::$name => Text { zh: $zh.into(), en: $en.into() },)* }
            }
        }
    };
}

refusals! {
    /// The case moved on since its author looked.
    Stale "stale", "处置单已有新的进展，请刷新后再操作。", "The case has moved on since you looked. Reload and decide again.";
    /// This build cannot do it.
    NotYet "not_yet", "此操作尚未开放。", "This cannot be done yet.";
    /// Wrong role.
    Role "role", "您的角色不能执行此操作。", "Your role may not do this.";
    /// Of another institution.
    OtherInstitution "other_institution", "该处置单不属于您的单位。", "This case is not of your institution.";
    /// Wrong state.
    State "state", "处置单当前状态不能执行此操作。", "The case is not in a state in which this can be done.";
    /// Must be acknowledged before it can be closed by disposition.
    AcknowledgeFirst "acknowledge_first", "请先签收，再以处置意见办结。", "Receive the case before closing it by disposition.";
    /// Closing asks for a verdict from data.
    NeedsPass "needs_pass", "整改后须数据核验通过并经复核方可办结。", "After dispatch a case closes only by a pass from data and a review.";
    /// Closed is closed.
    Closed "closed", "处置单已办结，不再更改。", "The case is closed and does not change any more.";
    /// Four eyes.
    SamePerson "same_person", "红色预警须由另一人复核或办结。", "A red case needs a second person for this step.";
    /// A reason is required.
    ReasonRequired "reason_required", "请填写理由。", "Give a reason.";
    /// Text is required.
    TextRequired "text_required", "请填写内容。", "Write what was done.";
    /// Too long.
    TooLong "too_long", "内容过长。", "The text is too long.";
    /// Nobody named.
    RecipientRequired "recipient_required", "请选择派单对象。", "Say who shall act.";
    /// The deadline has passed already.
    DeadlinePast "deadline_past", "整改期限须晚于现在。", "The deadline must lie in the future.";
    /// Too many attachments.
    TooManyAttachments "too_many_attachments", "附件过多。", "Too many attachments.";
    /// An attachment was never uploaded.
    AttachmentMissing "attachment_missing", "有附件尚未上传完成。", "An attachment has not been uploaded.";
    /// No such case.
    NoCase "no_case", "没有该处置单。", "There is no such case.";
    /// A verdict about another window, or none is awaited.
    OtherWindow "other_window", "核验时段不一致。", "The verdict is about another window.";
    /// The alert is in the case already, or never was.
    AlertKnown "alert_known", "该预警已记录。", "The alert is recorded already.";
}
