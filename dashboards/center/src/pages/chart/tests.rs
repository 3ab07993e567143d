//! What a chart promises, on small series.

use super::*;

const MINUTE: i64 = 60_000;
/// 2026-11-22T06:00:00Z.
const START: i64 = 1_795_327_200_000;

fn chart(samples: &[Sample], limit: Option<f64>) -> Chart<'_> {
    Chart {
        id: "c1",
        title: "冰箱 <1>",
        from: START,
        to: START + 60 * MINUTE,
        samples,
        gaps: &[],
        unit: "°C",
        truth: None,
        limit: limit.map(|value| Limit { value, beyond: Some(Beyond::Above) }),
        spans: &[],
        marks: &[],
        zone: Zone::BEIJING,
        lang: Lang::Zh,
        width: 880,
    }
}

fn good(minute: i64, value: f64) -> Sample {
    Sample { at: START + minute * MINUTE, seen: Seen::Good(value) }
}

fn path(svg: &str) -> &str {
    let start = svg.find("data-curve=\"1\" d=\"").unwrap() + "data-curve=\"1\" d=\"".len();
    svg[start..].split('"').next().unwrap()
}

#[test]
fn a_gap_breaks_the_line_and_is_drawn_as_a_gap() {
    let mut samples: Vec<_> = (0..=20).map(|minute| good(minute, 5.0)).collect();
    samples.extend((40..=60).map(|minute| good(minute, 6.0)));
    let gap = [(START + 21 * MINUTE, START + 40 * MINUTE)];
    let mut drawn = chart(&samples, None);
    drawn.gaps = &gap;
    let svg = render(&drawn);
    assert_eq!(path(&svg).matches('M').count(), 2, "two separate strokes");
    assert_eq!(svg.matches("data-gap").count(), 1);
    assert!(svg.contains("缺测"));
}

#[test]
fn a_missing_reading_breaks_the_line_even_between_close_neighbours() {
    let mut samples: Vec<_> = (0..=60).map(|minute| good(minute, 5.0)).collect();
    samples[30].seen = Seen::Missing;
    let drawn = chart(&samples, None);
    assert_eq!(gaps(&drawn), vec![(START + 30 * MINUTE, START + 31 * MINUTE)]);
    assert_eq!(path(&render(&drawn)).matches('M').count(), 2);
}

#[test]
fn no_data_at_all_is_one_gap_over_the_whole_picture() {
    let all = [(START - MINUTE, START + 90 * MINUTE)];
    let mut drawn = chart(&[], Some(8.0));
    drawn.gaps = &all;
    assert_eq!(gaps(&drawn), vec![(START, START + 60 * MINUTE)], "cut to the picture");
    assert_eq!(path(&render(&drawn)), "");
}

#[test]
fn the_limit_lies_inside_the_picture_wherever_the_values_are() {
    for (value, limit) in [(5.0, 8.0), (5.0, 80.0), (250.0, 8.0), (8.0, 8.0), (-20.0, 3.5)] {
        let samples: Vec<_> = (0..=60).map(|minute| good(minute, value)).collect();
        let drawn = chart(&samples, Some(limit));
        let y = Frame::new(&drawn).y(limit);
        assert!(y > TOP && y < HEIGHT - BOTTOM, "limit {limit} at y {y} with values {value}");
        assert!(render(&drawn).contains("data-limit"));
    }
}

#[test]
fn the_labels_of_the_axes_are_few_round_and_in_the_zone_of_the_reader() {
    let samples: Vec<_> = (0..=60).map(|minute| good(minute, 4.0 + minute as f64 / 10.0)).collect();
    let svg = render(&chart(&samples, Some(8.0)));
    let y_ticks = svg.matches("data-tick=\"y\"").count();
    let x_ticks = svg.matches("data-tick=\"x\"").count();
    assert!((4..=9).contains(&y_ticks), "{y_ticks} labels on the y axis");
    assert!((4..=10).contains(&x_ticks), "{x_ticks} labels on the x axis");
    assert!(svg.contains(">14:10<"), "06:10 UTC is 14:10 in Beijing");
}

#[test]
fn a_peak_of_one_reading_among_a_hundred_thousand_is_still_drawn() {
    let mut samples: Vec<_> =
        (0..100_000).map(|i| Sample { at: START + i * 36, seen: Seen::Good(5.0) }).collect();
    samples[61_234].seen = Seen::Good(30.0);
    let drawn = chart(&samples, None);
    let kept = thin(&runs(&drawn, &[])[0].points, &Frame::new(&drawn));
    assert!(kept.len() < 4_000, "{} points kept", kept.len());
    assert!(kept.iter().any(|(_, value)| *value > 29.0));
    assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0), "time order is kept");
}

#[test]
fn it_says_what_it_shows_to_those_who_cannot_see_it_and_escapes_what_it_is_given() {
    let samples: Vec<_> = (0..=60).map(|minute| good(minute, 5.0)).collect();
    let svg = render(&chart(&samples, None));
    assert!(svg.contains("<title id=\"c1-t\">冰箱 &lt;1&gt;</title>"));
    assert!(svg.contains("<desc id=\"c1-d\">"));
    assert!(!svg.contains("style="), "a strict policy forbids style attributes");
}

#[test]
fn a_truth_value_is_drawn_as_steps() {
    let samples = [good(0, 0.0), good(2, 1.0), good(4, 0.0)];
    let mut drawn = chart(&samples, None);
    drawn.truth = Some(("开", "关"));
    let svg = render(&drawn);
    assert!(path(&svg).contains('V'));
    assert!(svg.contains(">开<") && svg.contains(">关<"));
}

#[test]
fn a_value_holds_until_the_next_reading_or_the_gap_and_no_further() {
    let samples = [good(0, 5.0), good(30, 6.0)];
    let gap = [(START + 40 * MINUTE, START + 60 * MINUTE)];
    let mut drawn = chart(&samples, None);
    drawn.gaps = &gap;
    let ends: Vec<_> = runs(&drawn, &gaps(&drawn)).iter().map(|run| run.end).collect();
    assert_eq!(ends, [START + 40 * MINUTE]);
}

#[test]
fn readings_in_doubt_are_shaded() {
    let mut samples: Vec<_> = (0..=60).map(|minute| good(minute, 5.0)).collect();
    samples[10].seen = Seen::Doubtful(5.0);
    assert_eq!(render(&chart(&samples, None)).matches("data-doubt").count(), 1);
}
