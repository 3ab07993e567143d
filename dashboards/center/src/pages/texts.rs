//! The words of the pages, one table per language.
//!
//! Every key is a field: a template or function that asks for a key that does not exist does not compile, and a
//! table that lacks a key, or has one too many, fails the tests below. Codes are stored and sent; words are put
//! in here, at the last moment.

use std::sync::LazyLock;

use serde::Deserialize;

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    /// Chinese, the first language.
    Zh,
    /// English.
    En,
}

impl Lang {
    /// As in `?lang=` and the cookie.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }

    /// As in `<html lang>`.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Zh => "zh-CN",
            Self::En => "en",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Zh => Self::En,
            Self::En => Self::Zh,
        }
    }

    pub(crate) fn is_english(self) -> bool {
        self == Self::En
    }

    /// The language of a code or of one entry of `Accept-Language`: `en-GB` is English.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().split('-').next()?.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Zh),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// Its table.
    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Self::Zh => &ZH,
            Self::En => &EN,
        }
    }
}

const ZH_TABLE: &str = include_str!("../../i18n/zh.toml");
const EN_TABLE: &str = include_str!("../../i18n/en.toml");

static ZH: LazyLock<Texts> =
    LazyLock::new(|| toml::from_str(ZH_TABLE).expect("a test reads this embedded table"));
static EN: LazyLock<Texts> =
    LazyLock::new(|| toml::from_str(EN_TABLE).expect("a test reads this embedded table"));

macro_rules! texts {
    ($($key:ident,)*) => {
        /// One language's words, by key.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Texts { $(pub(crate) $key: String,)* }

        #[cfg(test)]
        impl Texts {
            fn all(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($key), self.$key.as_str()),)*]
            }
        }
    };
}

texts! {
    product, product_sub, beijing_time, times_in_zone, skip_to_content, other_language, unit_day,
    unit_hour, unit_minute, unit_second, just_now, time_ago, time_left, time_overdue, deadline_by, never,
    simulated_banner, simulated, reload, back, back_home, no_script, nav_tasks, nav_alerts, nav_gateways,
    log_in, log_out, role_duty_officer, role_reviewer, role_institution, role_admin, role_inspector,
    role_maintainer, role_collector, role_auditor, link_connecting, link_live, link_delayed,
    link_disconnected, link_banner, link_banner_delayed, login_title, login_lead, user_name, password,
    login_failed, setup_title, setup_lead, setup_code, password_new, password_hint, setup_submit,
    setup_done, setup_refused, tasks_title, tasks_mine, tasks_others, tasks_overdue, tasks_all,
    tasks_total, tasks_shown, empty_filter, empty_quiet, empty_quiet_sub, empty_nobody, empty_nobody_sub,
    empty_down, empty_down_sub, empty_quiet_off_sub, empty_some_silent, empty_some_silent_sub, step_open, step_acknowledged,
    step_verified, step_on_site, step_dispatched, step_rectifying, step_verifying, step_closed, state_open,
    state_acknowledged, state_dispatched, state_rectifying, state_verifying, state_on_site, state_verified,
    state_closed, priority_red, priority_orange, priority_yellow, priority_blue, priority_label,
    alerts_title, alerts_open, alerts_all, alerts_count, alerts_new, alerts_empty, alerts_empty_all,
    alerts_hint, col_alert, col_unit, col_value, col_since, col_state, col_deadline, col_action, col_step,
    col_task, col_age, shown_unacknowledged, shown_acknowledged, shown_returned_unacknowledged,
    shown_latched, shown_shelved, shown_suppressed_by_design, shown_out_of_service, shown_normal,
    quality_good, quality_stale, quality_bad, quality_stuck, quality_unevaluable, quality_uncertain, quality_none,
    chain_open, first_institution, first_maintainer, first_collector, first_supervisor, no_case,
    cleared_returned, cleared_settled, cleared_lapsed, cleared_superseded, cleared_rule_removed,
    cleared_disabled, limit, measured, acknowledge,
    case_title, case_raised, case_alerts, case_self_cleared, case_recurrence, case_why, case_rule,
    case_norm, mark_v, mark_s, mark_c, mark_k, mark_p, mark_a, case_quality, case_chart, case_chart_title,
    case_chart_none, case_chart_failed, case_chart_truncated, case_table, case_table_note, case_timeline,
    case_actions, case_no_actions, case_waiting_unit, case_waiting_data, case_closed, case_seen_stale,
    deadline_rectify, deadline_verify, case_verification, case_device, case_unit, case_owner,
    case_recipient, chart_desc, chart_desc_empty, chart_raised, chart_cleared, chart_window, data_gap,
    sample_time, sample_value, sample_quality, door_yes, door_no, truth_yes, truth_no, act_acknowledge, act_acknowledge_hint,
    act_dispatch, act_review, act_close, act_close_hint, act_note, act_recall, act_recall_hint,
    act_reverify_hint, dispatch_recipient, dispatch_deadline, dispatch_deadline_note, dispatch_requirement,
    dispatch_requirement_prefill, dispatch_preview, dispatch_submit, review_approve, review_return,
    review_reason, review_reason_hint, close_disposition, close_false_alarm, close_test_or_maintenance,
    close_reason, close_reason_hint, close_reason_1, close_reason_2, close_reason_3, close_reason_4,
    close_submit, note_text, note_submit, recall_reason, recall_submit, reverify_submit, refused_title,
    event_opened, event_opened_again, event_joined, event_worsened, event_self_cleared, event_acknowledged,
    event_dispatched, event_accepted, event_submitted, event_judged_pass, event_judged_fail,
    event_judged_insufficient, event_extended, event_on_site_needed, event_reviewed_approve,
    event_reviewed_reject, event_disposed, event_noted, event_recalled, event_reverified, event_window,
    event_coverage, event_first_violation, event_unseen, event_hash, actor_center, actor_gateway,
    verify_pending, verify_pass, verify_fail, verify_insufficient, verify_pending_note, reason_held,
    reason_violated, reason_not_good, reason_coverage, reason_silent, reason_never_seen,
    reason_cycle_failed, reason_no_cycle, reason_not_verifiable, reason_no_history, reason_reaches_back,
    reason_not_tested, reason_happened_again, reason_duty_failed, reason_window_too_long, reason_no_config,
    reason_rule_gone,
    attachment, gateways_title, gateways_count, gateways_empty, gateways_empty_sub, gateways_join, join_title, join_make_title, join_no_institution, join_site, join_site_hint, join_make, join_code, join_picture, join_expires, join_command, join_once, join_new_institution, join_institution_id, join_institution_id_hint, join_name_zh, join_name_en, join_kind, join_add_institution, kind_hotel, kind_clinic, kind_hospital, col_gateway,
    col_last_seen, col_data_until, col_records, col_software, col_open_alerts, gw_live, gw_delayed, gw_off, gw_line,
    gw_silent, gw_never, quarantined, unit_product, unit_ok, unit_ok_sub, unit_todo, unit_not_connected,
    unit_not_connected_sub, unit_off, unit_off_sub, unit_silent, unit_silent_sub, unit_also_silent, unit_waiting, unit_recent,
    unit_case_title, unit_what, unit_do, unit_deadline, unit_norm, unit_requirement, unit_accept,
    unit_accept_hint, unit_accepted_at, unit_rectify, unit_rectify_hint, unit_photo, unit_photo_pick, unit_photo_hint,
    unit_submit, unit_delivered, unit_self_fix, unit_self_fix_hint, unit_verifying, unit_verified,
    unit_failed_once, unit_returned, unit_on_site, unit_closed, unit_step_notify, unit_step_rectify,
    unit_step_verify, unit_step_close, unit_history, unit_measured, unit_photo_count, unit_sending,
    unit_send_failed, unit_photo_too_large, unit_photo_too_many, unit_photo_kind, error_title,
    requests_answered, event_received, request_span, requests_title, request_pause, request_closure, request_reason, request_answer, request_grant, request_refuse, request_asked, request_granted, request_granted_done, request_refused, request_declared, request_declared_done, request_failed, pause_for, act_pause, act_pause_hint, act_pause_submit, unit_pause, unit_pause_hint, unit_pause_submit, unit_closure, unit_closure_open, unit_closure_hint, unit_closure_from, unit_closure_to, unit_closure_submit,
    nav_leads, join_township, join_township_hint, leads_title, leads_hint, leads_weeks, leads_week, leads_listed, leads_empty, leads_empty_sub, leads_found, leads_expected, leads_feed, leads_reason, leads_dismiss, leads_to_case, leads_dismissed, leads_to_case_done, leads_unjudged, leads_unjudged_hint, leads_unjudged_row, leads_answered, duties_title, duties_all_done, duties_told, duty_done, duty_overdue, duty_due_at, duty_due, duty_bowie_dick, duty_biological, duty_chemical, duty_calibration, duty_lamp_cleaning, duty_water_line, duty_manual_reading, cause_no_communication, cause_device_refused, cause_malformed, cause_sentinel, cause_implausible, cause_source_offline, cause_gateway_down, cause_clock, cause_held, request_said, colon, pause_said, pause_until, request_paused, request_ordered, request_ordered_done, leads_whether,
}

/// Puts values into the `{name}` places of a text.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(name, later)| {
            values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value, later))
        });
        if let Some((value, later)) = known {
            out.push_str(value);
            rest = later;
        } else {
            // Not a place of ours: stays as it stands.
            out.push('{');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        let mut names: Vec<String> =
            text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn both_tables_have_every_key_and_the_same_places_to_fill() {
        for ((key, zh), (_, en)) in Lang::Zh.texts().all().into_iter().zip(Lang::En.texts().all()) {
            assert!(!zh.trim().is_empty() && !en.trim().is_empty(), "`{key}` is empty");
            assert_eq!(places(zh), places(en), "places of `{key}`");
        }
    }

    #[test]
    fn pages_of_a_hotel_never_speak_of_clinics_and_words_with_legal_weight_are_kept_apart() {
        // The kinds of institution, from which an administrator chooses, are shown to nobody else.
        let shown = |(key, _): &(&'static str, &str)| !key.starts_with("kind_");
        for (key, text) in Lang::Zh.texts().all().into_iter().filter(shown) {
            for word in ["牙科", "诊所", "患者", "案件", "结案", "申诉", "移送", "搁置", "屏蔽"]
            {
                assert!(!text.contains(word), "`{key}` says {word}");
            }
        }
        for (key, text) in Lang::En.texts().all().into_iter().filter(shown) {
            let text = text.to_lowercase();
            for word in ["sign in", "clinic", "patient", "dental"] {
                assert!(!text.contains(word), "`{key}` says {word}");
            }
        }
    }

    #[test]
    fn chinese_is_set_with_full_width_marks() {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c) || "，；：。（）“”".contains(c);
        for (key, text) in Lang::Zh.texts().all() {
            let marks: Vec<char> = text.chars().collect();
            for three in marks.windows(3).filter(|three| ",;:!?()".contains(three[1])) {
                assert!(!is_chinese(three[0]) && !is_chinese(three[2]), "`{key}`: {three:?} in {text}");
            }
        }
    }

    #[test]
    fn filling_replaces_known_places_only() {
        assert_eq!(fill("{n} of {m} {x", &[("n", "3"), ("m", "{n}")]), "3 of {n} {x");
    }

    #[test]
    fn a_language_is_read_from_a_tag() {
        assert_eq!(Lang::parse("en-GB"), Some(Lang::En));
        assert_eq!(Lang::parse(" zh-Hans-CN"), Some(Lang::Zh));
        assert_eq!(Lang::parse("de"), None);
    }
}
