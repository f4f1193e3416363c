//! The scenarios, and what each needs from a broker. Played on every broker that has it.

pub(crate) mod attempts;
pub(crate) mod dead_letters;
pub(crate) mod hosts;
pub(crate) mod kill;
pub(crate) mod messages;
pub(crate) mod order;
pub(crate) mod outputs;
pub(crate) mod patience;
pub(crate) mod retries;
pub(crate) mod server;
pub(crate) mod stopping;

/// Calls `$then` with `$head` and all scenarios.
macro_rules! each_scenario {
    ($then:ident $head:tt) => {
        $then! { $head
            order::order_by_key_is_kept_through_retries_and_a_kill [Orders Redelivers];
            order::order_of_the_source_is_kept_through_retries_and_a_kill [Orders Redelivers];
            kill::what_a_dead_host_had_in_hand_comes_again [Redelivers];
            kill::kill_nine_at_any_moment_loses_nothing [Redelivers];
            kill::kill_nine_at_any_moment_keeps_each_key_in_order [Orders Redelivers];
            attempts::attempts_are_given_over_retries [];
            attempts::attempts_are_given_over_retries_and_a_restart [KeepsAttempts];
            attempts::deliveries_count_crashes_and_not_retries [Redelivers CountsEachDelivery];
            retries::a_retry_comes_at_its_time_and_blocks_nobody [];
            retries::what_waits_at_the_broker_takes_no_place_in_the_host [Delays];
            dead_letters::dead_letters_are_the_message_byte_for_byte [];
            dead_letters::dead_letters_say_what_happened [];
            hosts::two_hosts_share_a_group [Shared];
            hosts::one_host_to_three_and_back_under_load [Shared Redelivers];
            hosts::a_slow_handler_is_not_taken_over [Shared Redelivers];
            hosts::a_dead_hosts_work_is_taken_over_in_time [Shared Redelivers];
            outputs::outputs_are_confirmed_before_the_message_is_accepted [Redelivers];
            outputs::an_undeliverable_output_is_a_dead_letter [];
            outputs::an_absent_destination_is_made_or_waited_for [Keeps];
            outputs::a_destination_that_refuses_is_waited_for [Obstructable Redelivers];
            messages::messages_of_five_mebibytes [];
            messages::odd_messages_are_handled_byte_for_byte [];
            patience::retries_that_outlast_the_brokers_patience_are_counted [Patience Orders Redelivers Server];
            patience::a_window_that_outlasts_the_brokers_patience_is_handled_once [Patience Redelivers Server];
            patience::outputs_that_outlast_the_brokers_patience_are_made_anew [Patience Obstructable Redelivers Server];
            patience::what_a_halted_subscription_has_in_hand_goes_back [Patience Orders Redelivers Server];
            server::a_server_absent_at_start_is_waited_for [Server];
            server::a_server_restarted_under_load_loses_nothing [Server Redelivers];
            server::connections_cut_under_load_lose_nothing [Server Redelivers];
            server::a_slow_network_costs_time_and_nothing_else [Server Redelivers];
            server::a_source_deleted_while_it_is_read_is_gone_on_with [Deletable];
            stopping::sigterm_under_load_loses_and_repeats_nothing [Redelivers];
            stopping::what_a_stopping_host_cannot_finish_is_given_back [Redelivers];
        }
    };
}
