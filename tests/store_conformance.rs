//! One suite for every adapter of the store port: each story runs on each database.

#[path = "store_conformance/commits.rs"]
mod commits;
#[path = "store_conformance/endpoints.rs"]
mod endpoints;
#[path = "store_conformance/fair.rs"]
mod fair;
#[path = "store_conformance/inbox.rs"]
mod inbox;
#[path = "store_conformance/kit.rs"]
mod kit;
#[path = "store_conformance/leases.rs"]
mod leases;
#[path = "store_conformance/lists.rs"]
mod lists;
#[path = "store_conformance/model.rs"]
mod model;
#[path = "store_conformance/outbox.rs"]
mod outbox;
#[path = "store_conformance/overdue.rs"]
mod overdue;
#[path = "store_conformance/retention.rs"]
mod retention;
#[path = "store_conformance/submissions.rs"]
mod submissions;
#[path = "store_conformance/task_webhooks.rs"]
mod task_webhooks;

/// Every story once, on a fresh database made by `$open`, which answers a guard to keep and the store.
macro_rules! suite {
    ($adapter:ident, $open:path, $($chapter:ident: $($story:ident)+;)+) => {
        mod $adapter {
            $(mod $chapter { $(
                #[tokio::test]
                async fn $story() {
                    let (_guard, store) = $open();
                    crate::$chapter::$story(&*store).await;
                }
            )+ })+
        }
    };
}

macro_rules! every_story {
    ($adapter:ident, $open:path) => {
        suite! { $adapter, $open,
            submissions:
                an_accepted_task_is_read_back_whole
                g2_a_known_key_with_the_same_body_answers_the_stored_entries
                i2_a_known_key_with_another_body_is_refused
                g2_a_known_task_with_the_same_body_is_replayed_and_with_another_refused
                t1_another_tenants_task_id_is_a_conflict_even_with_the_same_body
                a_submission_is_stored_whole_or_not_at_all
                a_partly_known_batch_stores_the_rest_in_request_order
                one_id_with_two_bodies_in_one_batch_is_a_conflict
                a_task_is_adopted_once;
            commits:
                only_the_first_of_two_decisions_on_one_reading_is_written
                a_claim_makes_older_readings_conflict
                a_decision_about_an_unknown_task_conflicts
                everything_of_a_task_and_its_assets_is_read_back
                a_verdict_and_a_kept_object_are_read_back
                what_an_earlier_round_left_is_read_back
                i10_a_late_dispatcher_changes_nothing
                i10_a_late_copier_changes_nothing
                i10_a_lease_given_up_is_lost
                a_fence_of_another_task_is_no_fence
                a_held_commit_keeps_the_lease_and_answers_the_next_version
                writing_an_asset_leaves_its_lease_alone
                an_intent_is_kept_under_the_lease
                i8_a_failing_commit_writes_neither_state_nor_event
                i9_sequences_rise_and_each_tasks_own_have_no_gap
                a_postponed_copy_waits_for_its_time;
            leases:
                a_claim_counts_and_marks
                submissions_are_claimed_oldest_first_and_at_most_the_limit
                nothing_is_claimed_before_it_is_due
                i11_a_lapsed_lease_is_claimable_at_once
                i11_a_woken_task_whose_holder_died_is_due_at_once
                renewal_moves_the_end_and_needs_the_lease
                f25_a_released_row_is_due_at_once_and_its_attempt_given_back
                f26_copies_are_claimed_nearest_deadline_first
                siblings_claimed_together_carry_the_same_reading
                woken_tasks_are_asked_about_first
                a_callback_during_a_query_asks_for_another
                finished_tasks_are_left_alone_unless_due_or_woken
                a_completed_task_still_due_is_asked_about
                f22_no_row_is_handed_to_two_holders
                g6_imported_tasks_are_asked_about_in_the_order_in_which_their_links_die
                a_start_voids_every_lease;
            inbox:
                a_receipt_is_stored_once_and_wakes_once
                t6_a_receipt_that_is_done_is_still_known
                a_task_keeps_a_bounded_number_of_receipts
                f17_a_callback_before_the_submit_answer_is_kept_until_then
                a_callback_survives_another_claim_of_its_submission
                an_unknown_task_is_told_apart
                a_completed_task_takes_receipts_and_sleeps_on
                a_receipt_does_not_disturb_a_decision_under_way;
            outbox:
                the_log_is_read_in_pages_and_filtered
                a_reader_ahead_of_the_log_stays_where_it_is
                events_pass_over_what_a_filter_hides
                i9_each_event_becomes_one_delivery_per_endpoint_that_wants_it
                an_endpoint_starts_where_it_was_told_to
                a_delivery_is_tried_until_it_is_taken
                i10_a_late_delivery_worker_settles_nothing
                a_released_delivery_keeps_its_schedule
                an_endpoint_that_is_gone_is_disabled_and_its_queue_waits
                an_operator_event_told_before_does_not_stop_a_later_settlement
                i8_many_answers_of_gone_are_one_disabling
                f20_a_slow_endpoint_holds_its_share_and_no_more
                deliveries_are_claimed_earliest_due_first_within_the_limit
                a_deleted_endpoint_takes_its_open_deliveries_along
                an_endpoint_is_read_back_whole;
            endpoints:
                first_tries_keep_the_order_of_their_task
                f20_order_is_kept_through_an_outage_and_all_is_due_when_it_ends
                i12_a_retry_after_outlasts_the_end_of_an_outage
                t13_a_failing_endpoint_is_tried_one_at_a_time
                an_endpoint_that_fails_for_days_is_disabled_and_its_events_are_kept
                dead_letters_are_redriven_one_a_range_or_all
                many_dead_letters_are_redriven_in_steps
                deliveries_are_listed_newest_first_in_pages
                an_endpoint_is_changed_and_its_secret_rotated
                events_are_filtered_by_label_and_model;
            fair:
                f20_slow_endpoints_leave_places_to_a_good_one
                f20_after_hours_away_a_quiet_endpoint_gets_each_tasks_events_in_order
                f20_a_poison_event_is_passed_once_others_were_taken
                i12_an_endpoint_that_asks_for_a_rest_has_it_for_all_its_deliveries
                f11_our_own_faults_are_no_endpoints_fault
                weeks_without_a_try_are_no_failure
                a_taken_delivery_tells_all_its_tries_also_after_it_was_sent_again;
            overdue:
                g6_what_is_at_risk_is_told_by_the_clock_alone_earliest_first
                a_submission_whose_time_is_over_is_claimed_before_it_is_due
                a_submission_in_doubt_of_an_earlier_life_is_left_to_be_asked_about
                g6_copies_put_off_by_the_store_are_due_when_it_is_back
                i8_an_operators_decision_and_its_line_are_one_commit
                i12_a_story_of_many_equal_tries_stays_short;
            task_webhooks:
                i8_a_call_comes_with_its_event_and_for_its_task_alone
                the_wait_before_the_first_call_is_added_once
                f20_one_receiver_holds_its_share_of_calls_and_no_more
                a_call_is_tried_until_taken_and_its_tries_are_told
                a_receiver_that_is_gone_gets_nothing_more
                g7_no_call_dies_without_reason_and_event
                t13_a_receiver_that_fails_is_tried_one_at_a_time_until_it_takes_a_call
                t13_one_tenants_receivers_never_take_all_places
                f25_a_released_call_keeps_its_schedule
                f21_a_sink_keeps_its_place_in_the_log;
            retention:
                a_document_is_erased_once_its_task_is_settled_long_enough
                documents_of_many_open_tasks_hide_no_old_one
                old_events_go_in_order_and_leave_the_oldest_position
                g7_an_event_stays_until_its_enabled_endpoints_have_it
                a_settled_task_goes_and_leaves_a_tombstone_and_its_events
                g2_tasks_of_one_request_stay_until_the_last_of_them_may_go
                a_task_with_an_undelivered_event_stays
                g7_an_event_stays_until_a_log_outside_and_its_tasks_webhook_have_it;
            lists:
                t1_tenants_never_see_each_other
                tasks_are_listed_newest_first_in_pages
                tasks_are_filtered
                two_statuses_page_without_gap_or_repeat
                a_timeline_tells_the_story_in_order
                figures_count_what_is_there
                a_write_can_be_proved
                keys_are_found_by_their_hash_until_revoked;
        }
    };
}

every_story!(on_sqlite, crate::fresh_sqlite);

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 96, // each on a database of its own
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn i10_i11_f22_every_history_follows_the_model_on_sqlite(history in model::history()) {
        let (_guard, store) = fresh_sqlite();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(model::follows_the_model(&*store, history));
    }
}

fn fresh_sqlite() -> (
    tempfile::TempDir,
    std::sync::Arc<catchment::adapters::sqlite::SqliteStore>,
) {
    use catchment::adapters::sqlite::{OpenOptions, Role, SqliteStore};
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(OpenOptions {
        path: dir.path().join("catchment.db"),
        now: kit::at(0),
        role: Role::Serve,
    })
    .unwrap();
    (dir, store)
}
