//! The tree: wave, service, revision, pods; analysis runs and what they measured.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::StatefulWidget;
use tui_tree_widget::{Tree, TreeItem};

use super::frame;
use super::header::wave_number;
use crate::cockpit::ink::Ink;
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::snapshot::{ServiceView, Snapshot};
use crate::core::text::Text;
use crate::core::workload::{ReplicaSetView, Role as Part};

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let s = model.shown();
    let about = s.release.as_ref().map_or(String::new(), ToString::to_string);
    let inner = frame(model, ink, area, Pane::Tree, &about, &[]);
    if inner.is_empty() {
        return;
    }
    let services = model.matching();
    if services.is_empty() {
        ink.put(inner, inner.x + 1, inner.y, "nothing to show", Role::Dim);
        return;
    }
    if model.tree.selected().is_empty()
        && let Some(service) = model.selection()
    {
        let path = Model::tree_path(&service);
        model.tree.open(path[..1].to_vec());
        model.tree.select(path);
    }
    let mut items: Vec<TreeItem<'_, String>> = Vec::new();
    let mut waves: Vec<Option<u32>> = services.iter().map(|x| x.wave).collect();
    waves.dedup();
    for wave in waves {
        let members: Vec<TreeItem<'_, String>> =
            services.iter().filter(|x| x.wave == wave).filter_map(|x| service_item(ink, &s, x)).collect();
        let Some(wave) = wave else {
            items.extend(members);
            continue;
        };
        let done = services.iter().filter(|x| x.wave == Some(wave));
        let well = done.clone().filter(|x| status::of(x, ink.g).kind == status::Kind::Well).count();
        let title = line(
            ink,
            vec![
                (Role::Title, format!("wave {}", wave_number(&s, wave))),
                (Role::Dim, format!("  {well} of {} done", done.count())),
            ],
        );
        items.extend(TreeItem::new(format!("wave {wave}"), title, members).ok());
    }
    let Ok(tree) = Tree::new(&items) else { return };
    let (open, closed) = (format!("{} ", ink.g.open), format!("{} ", ink.g.closed));
    let tree = tree
        .style(ink.style(Role::Text))
        .highlight_style(Style::reset().patch(ink.style(Role::Select)))
        .node_open_symbol(&open)
        .node_closed_symbol(&closed)
        .node_no_children_symbol("  ");
    let room = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    StatefulWidget::render(tree, room, ink.buf, &mut model.tree);
}

fn line(ink: &Ink<'_>, parts: Vec<(Role, String)>) -> Line<'static> {
    Line::from(parts.into_iter().map(|(role, text)| Span::styled(text, ink.style(role))).collect::<Vec<_>>())
}

fn service_item(ink: &Ink<'_>, s: &Snapshot, service: &ServiceView) -> Option<TreeItem<'static, String>> {
    let st = status::of(service, ink.g);
    let (old, new) = status::versions(service);
    let versions = match (old, new) {
        (Some(old), Some(new)) => format!("{old} {} {new}", ink.g.to),
        (old, new) => new.or(old).unwrap_or("version unknown").to_owned(),
    };
    let mut parts = vec![
        (st.role, format!("{} ", st.glyph)),
        (Role::Text, service.name.to_string()),
        (Role::Dim, format!("  {versions}  ")),
        (st.role, st.word.to_owned()),
    ];
    if let Some(w) = &service.workload {
        if !w.reason.is_empty() {
            parts.push((Role::Dim, format!("  {}", w.reason)));
        }
        let r = &w.replicas;
        parts.push((Role::Dim, format!("  {}/{} ready", r.ready, r.desired)));
    }
    let mut children: Vec<TreeItem<'static, String>> = Vec::new();
    if let Some(w) = &service.workload {
        children.extend(w.sets.iter().filter_map(|set| revision(ink, s, set)));
    }
    children.extend(s.runs.iter().filter(|r| r.service == service.name).filter_map(|r| {
        let phase = phase_role(&r.phase);
        let message = if r.message.is_empty() { String::new() } else { format!("  {}", r.message) };
        let text = line(
            ink,
            vec![
                (Role::Dim, "analysis ".to_owned()),
                (Role::Text, r.name.to_string()),
                (phase, format!("  {}", r.phase)),
                (Role::Dim, message),
            ],
        );
        let metrics = (0..).zip(&r.metrics).map(|(n, (name, phase, value, counts))| {
            let text = line(
                ink,
                vec![
                    (Role::Text, name.to_string()),
                    (phase_role(phase), format!("  {phase}")),
                    (Role::Text, format!("  {value}")),
                    (Role::Dim, format!("  {counts}")),
                ],
            );
            TreeItem::new_leaf(format!("metric {n} {name}"), text)
        });
        TreeItem::new(format!("run {}", r.name), text, metrics.collect()).ok()
    }));
    TreeItem::new(service.name.to_string(), line(ink, parts), children).ok()
}

fn revision(ink: &Ink<'_>, s: &Snapshot, set: &ReplicaSetView) -> Option<TreeItem<'static, String>> {
    let (word, role) = match set.role {
        Part::Stable => ("stable", Role::Ok),
        Part::Canary => ("canary", Role::Moving),
        Part::Active => ("active", Role::Ok),
        Part::Preview => ("preview", Role::Moving),
        Part::Old => ("old", Role::Dim),
    };
    let text = line(
        ink,
        vec![
            (Role::Dim, "revision ".to_owned()),
            (Role::Text, set.revision.to_string()),
            (role, format!("  {word}")),
            (Role::Text, format!("  {}/{} ready", set.ready, set.desired)),
            (Role::Dim, format!("  {}  {}", set.name, set.image)),
        ],
    );
    let pods = s.pods.iter().filter(|p| p.set == set.name).map(|p| {
        let role = if p.ready { Role::Text } else { phase_role(&p.status) };
        let restarts = if p.restarts > 0 { format!("  {} restarts", p.restarts) } else { String::new() };
        let text = line(
            ink,
            vec![
                (role, if p.ready { ink.g.dot } else { ink.g.ring }.to_string()),
                (Role::Text, format!(" {}", p.name)),
                (role, format!("  {}", p.status)),
                (Role::Warn, restarts),
            ],
        );
        TreeItem::new_leaf(format!("pod {}", p.name), text)
    });
    TreeItem::new(format!("set {}", set.name), text, pods.collect()).ok()
}

/// How a controller's own word for a phase is shown.
fn phase_role(phase: &Text) -> Role {
    match &**phase {
        "Successful" | "Running" | "Succeeded" | "Completed" => Role::Ok,
        "Pending" | "ContainerCreating" | "PodInitializing" | "" => Role::Dim,
        "Inconclusive" | "Terminating" => Role::Warn,
        _ => Role::Bad,
    }
}
