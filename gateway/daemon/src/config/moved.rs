//! What is read and heard, in the slots of another plan: what a source asks and how it is read does not change because a
//! point has another number. `None` = some of it is not in that plan.

use gateway_model::PointIx;

use super::mapping::{
    FeedMapping, JsonField, JsonMapping, Mapping, MilesightField, MilesightMapping, MqttPlan,
};
use super::site::{BlockPlan, BlockPoint, StreamPlan};
use crate::recorder::slots::Slots;

impl BlockPlan {
    /// On this slot of a bus, with points where they are now.
    pub fn moved(&self, bus: usize, slots: &Slots) -> Option<Self> {
        let point =
            |point: &BlockPoint| Some(BlockPoint { point: slots.point(point.point)?, ..point.clone() });
        let points = self.points.iter().map(point).collect::<Option<_>>()?;
        Some(Self { bus, points, ..self.clone() })
    }
}

impl StreamPlan {
    /// On this slot of a bus, with points where they are now.
    pub fn moved(&self, bus: usize, slots: &Slots) -> Option<Self> {
        let points = self.points.iter().map(|(point, field)| Some((slots.point(*point)?, *field)));
        Some(Self { bus, points: points.collect::<Option<_>>()?, ..self.clone() })
    }
}

impl MqttPlan {
    /// With device and points where they are now.
    pub fn moved(&self, slots: &Slots) -> Option<Self> {
        let device = slots.device(self.device)?;
        Some(Self { device, mapping: self.mapping.moved(|point| slots.point(point))?, ..self.clone() })
    }
}

impl Mapping {
    fn moved(&self, moved: impl Fn(PointIx) -> Option<PointIx>) -> Option<Self> {
        Some(match self {
            Self::Json(json) => {
                let field =
                    |field: &JsonField| Some(JsonField { point: moved(field.point)?, ..field.clone() });
                let fields = json.fields.iter().map(field).collect::<Option<_>>()?;
                Self::Json(JsonMapping { fields, ..json.clone() })
            }
            Self::Milesight(milesight) => {
                let field =
                    |field: &MilesightField| Some(MilesightField { point: moved(field.point)?, ..*field });
                let fields = milesight.fields.iter().map(field).collect::<Option<_>>()?;
                Self::Milesight(MilesightMapping { fields, ..milesight.clone() })
            }
            Self::Feed(feed) => Self::Feed(FeedMapping { point: moved(feed.point)?, ..*feed }),
        })
    }
}
