//! Runtime parameters: values that the management keeps by component and name. Policies and limits are such
//! parameters, as in RabbitMQ, and what they mean stands with them; others are kept as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policies::{Policies, Policy, PolicyKind};
use crate::topology::NewRules;
use crate::{Applied, Effects, Error, Vhost, VhostLimits, VhostSettings};

/// The component and the name of a virtual host's limits.
pub(crate) const LIMITS: (&str, &str) = ("vhost-limits", "limits");

/// A runtime parameter of a virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The virtual host.
    pub vhost: String,
    /// What it is for: `policy`, `operator_policy`, `vhost-limits`, or anything that somebody else reads.
    pub component: String,
    /// Its name, unique in the component.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A parameter of the whole broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalParameter {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A parameter whose value has been understood.
pub(crate) enum Meaning {
    Policy(PolicyKind, Policy),
    Limits(VhostLimits),
    Other,
}

impl Parameter {
    /// Whether parameters of that component do anything here.
    #[must_use]
    pub fn is_understood(component: &str) -> bool {
        component == LIMITS.0 || PolicyKind::of_component(component).is_some()
    }

    /// # Errors
    /// `PreconditionFailed` where the component would not understand the value.
    pub(crate) fn meaning(&self) -> Result<Meaning, Error> {
        if let Some(kind) = PolicyKind::of_component(&self.component) {
            return Ok(Meaning::Policy(kind, Policy::from_json(&self.name, &self.value, kind)?));
        }
        if (self.component.as_str(), self.name.as_str()) == LIMITS {
            return Ok(Meaning::Limits(VhostLimits::from_json(&self.value)?));
        }
        Ok(Meaning::Other)
    }
}

/// The parameters of a virtual host.
#[derive(Default)]
pub(crate) struct Parameters {
    pub(crate) policies: Policies,
    pub(crate) limits: VhostLimits,
    /// All of them, by component and name.
    all: BTreeMap<(String, String), Value>,
}

impl Parameters {
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &String, &Value)> {
        self.all.iter().map(|((component, name), value)| (component, name, value))
    }

    /// Sets a parameter; true where there was none.
    pub(crate) fn put(&mut self, parameter: Parameter, meaning: Meaning) -> bool {
        match meaning {
            Meaning::Policy(kind, policy) => {
                self.policies.put(kind, policy);
            }
            Meaning::Limits(limits) => self.limits = limits,
            Meaning::Other => {}
        }
        self.all.insert((parameter.component, parameter.name), parameter.value).is_none()
    }

    /// Clears a parameter; false where there was none.
    pub(crate) fn remove(&mut self, component: &str, name: &str) -> bool {
        if let Some(kind) = PolicyKind::of_component(component) {
            self.policies.remove(kind, name);
        }
        if (component, name) == LIMITS {
            self.limits = VhostLimits::default();
        }
        self.all.remove(&(component.into(), name.into())).is_some()
    }
}

impl Vhost {
    /// What is set on it as such.
    #[must_use]
    pub fn settings(&self) -> VhostSettings {
        self.topology().settings().clone()
    }

    pub(crate) fn set_settings(&self, settings: VhostSettings) {
        self.topology_mut().set_settings(settings);
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> VhostLimits {
        self.topology().parameters().limits
    }

    /// The policies that apply to an exchange; `None` where there is no such exchange.
    #[must_use]
    pub fn exchange_policies(&self, name: &str) -> Option<Applied> {
        self.topology().exchange(name).ok().map(|exchange| exchange.applied().clone())
    }

    /// Its policies of a kind, those of the highest priority first.
    #[must_use]
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.topology().parameters().policies.all(kind).to_vec()
    }

    /// Its parameters, policies and limits among them, by component and name.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let topology = self.topology();
        let all = topology.parameters().all();
        let all = all.map(|(component, name, value)| Parameter {
            vhost: self.name.to_string(),
            component: component.clone(),
            name: name.clone(),
            value: value.clone(),
        });
        all.collect()
    }

    /// Sets a parameter; true where there was none. Policies and limits count from now on.
    ///
    /// # Errors
    /// `PreconditionFailed` where its component would not understand the value, `Internal` where the catalog cannot
    /// keep it.
    pub fn set_parameter(
        &self,
        component: &str,
        name: &str,
        value: Value,
        effects: &mut Effects,
    ) -> Result<bool, Error> {
        let vhost = self.name.to_string();
        let parameter = Parameter { vhost, component: component.into(), name: name.into(), value };
        let _one_at_a_time = self.setting.lock();
        let (is_new, new_rules) = self.change(|topology| topology.put_parameter(parameter))?;
        self.keep_and_put_in_force(new_rules, effects).map(|()| is_new)
    }

    /// Clears a parameter; false where there is none.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn clear_parameter(&self, component: &str, name: &str, effects: &mut Effects) -> Result<bool, Error> {
        let _one_at_a_time = self.setting.lock();
        let (was_there, new_rules) = self.change(|topology| Ok(topology.drop_parameter(component, name)))?;
        self.keep_and_put_in_force(new_rules, effects).map(|()| was_there)
    }

    /// What cannot be written now is in force nevertheless, as it is shown: it is written with what comes next.
    fn keep_and_put_in_force(&self, new_rules: NewRules, effects: &mut Effects) -> Result<(), Error> {
        let kept = self.commit();
        for (queue, rules) in new_rules {
            queue.set_rules(rules, effects);
            self.carry_out(effects);
        }
        // Routes that were found meanwhile may say that a queue refuses nothing, or refuses something.
        self.void_routes();
        kept
    }

    /// Sets a policy; true where there was none of that name.
    ///
    /// # Errors
    /// As [`Vhost::set_parameter`].
    pub fn set_policy(
        &self,
        kind: PolicyKind,
        policy: &Policy,
        effects: &mut Effects,
    ) -> Result<bool, Error> {
        self.set_parameter(kind.component(), &policy.name, policy.to_json(), effects)
    }

    /// Clears a policy; false where there is none.
    ///
    /// # Errors
    /// As [`Vhost::clear_parameter`].
    pub fn clear_policy(&self, kind: PolicyKind, name: &str, effects: &mut Effects) -> Result<bool, Error> {
        self.clear_parameter(kind.component(), name, effects)
    }

    /// Sets its limits; none at all clears them.
    ///
    /// # Errors
    /// As [`Vhost::set_parameter`].
    pub fn set_limits(&self, limits: VhostLimits) -> Result<(), Error> {
        if limits == VhostLimits::default() {
            return self.clear_parameter(LIMITS.0, LIMITS.1, &mut Effects::default()).map(|_| ());
        }
        let value = serde_json::to_value(limits).map_err(|error| Error::internal(error.to_string()))?;
        self.set_parameter(LIMITS.0, LIMITS.1, value, &mut Effects::default()).map(|_| ())
    }

    pub(crate) fn restore_parameter(&self, parameter: Parameter) {
        self.topology_mut().restore_parameter(parameter);
    }
}
