//! The functions a clean statement may call.
//!
//! Taken by hand from `pg_proc`: functions of `pg_catalog` of which every overload is immutable or stable, without those that serve
//! types, operators, indexes and the administration, and without those that run a query given as text (`table_to_xml`). The
//! volatile ones were added one by one. A test server was asked whether all of them exist and are volatile nowhere else.
//!
//! All versions from 13 on have every one of them: on an older server the name of a newer function could be a user's.
//! Not listed although tempting: `nextval`, `setval`, `currval`, `lastval`, `setseed`, `set_config`, `pg_notify`, all advisory
//! locks, large objects, and `ts_rewrite` and `ts_stat`, which run a query.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::tokens::{Kind, Token};

/// Whether `name` is on the list. Quoted names are compared as they are.
pub(super) fn lists(name: &Token<'_>) -> bool {
    match name.kind {
        Kind::Word => NAMES.contains(name.text.to_ascii_lowercase().as_str()),
        Kind::Quoted => NAMES.contains(name.name()),
        Kind::Escaped | Kind::Literal | Kind::Symbol => false,
    }
}

static NAMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| STABLE.split_whitespace().chain(VOLATILE.split_whitespace()).collect());

/// Immutable or stable in every overload.
pub(super) const STABLE: &str = "
    abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd degrees div exp
    factorial floor gcd lcm ln log log10 min_scale mod pi pow power radians round scale sign sin sind sinh sqrt tan tand
    tanh trim_scale trunc width_bucket

    ascii bit_length btrim char_length character_length chr concat concat_ws convert convert_from convert_to decode encode
    format initcap left length like lower lpad ltrim md5 notlike octet_length overlay parse_ident position quote_ident
    quote_literal quote_nullable regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table repeat
    replace reverse right rpad rtrim sha224 sha256 sha384 sha512 split_part starts_with string_to_array strpos substr
    substring to_ascii to_hex translate upper
    get_bit get_byte set_bit set_byte normalize is_normalized

    age date date_part date_trunc isfinite justify_days justify_hours justify_interval make_date make_interval make_time
    make_timestamp make_timestamptz now overlaps statement_timestamp timezone to_char to_date to_number to_timestamp
    transaction_timestamp
    bool float4 float8 int2 int4 int8 text timestamptz

    array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_to_string array_upper cardinality generate_series generate_subscripts
    num_nonnulls num_nulls unnest enum_first enum_last enum_range

    daterange int4range int8range isempty lower_inc lower_inf numrange range_merge tsrange tstzrange upper_inc upper_inf

    array_agg avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every json_agg json_object_agg jsonb_agg
    jsonb_object_agg max min mode percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number

    array_to_json json_array_elements json_array_elements_text json_array_length json_build_array json_build_object
    json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys json_populate_record
    json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_typeof row_to_json to_json to_jsonb
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
    jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys
    jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
    jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset
    jsonb_typeof

    array_to_tsvector get_current_ts_config json_to_tsvector jsonb_to_tsvector numnode phraseto_tsquery plainto_tsquery
    querytree setweight strip to_tsquery to_tsvector ts_delete ts_filter ts_headline ts_lexize ts_rank ts_rank_cd
    tsquery_phrase tsvector_to_array websearch_to_tsquery

    area box center circle diameter height isclosed isopen line lseg npoints path point polygon radius slope width
    abbrev broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen
    xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document xmlcomment xpath xpath_exists

    col_description current_database current_schema current_schemas current_setting format_type has_any_column_privilege
    has_column_privilege has_database_privilege has_function_privilege has_schema_privilege has_sequence_privilege
    has_table_privilege has_type_privilege inet_client_addr inet_client_port inet_server_addr inet_server_port
    obj_description pg_backend_pid pg_client_encoding pg_column_size pg_current_snapshot pg_current_xact_id
    pg_current_xact_id_if_assigned pg_encoding_to_char pg_get_constraintdef pg_get_expr pg_get_functiondef pg_get_indexdef
    pg_get_serial_sequence pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_my_temp_schema
    pg_postmaster_start_time pg_size_bytes pg_size_pretty pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin
    pg_table_is_visible pg_trigger_depth pg_type_is_visible pg_typeof pg_visible_in_snapshot row_security_active
    shobj_description to_regclass to_regnamespace to_regproc to_regprocedure to_regrole to_regtype txid_current
    txid_current_if_assigned txid_current_snapshot txid_snapshot_xip txid_snapshot_xmax txid_snapshot_xmin
    txid_visible_in_snapshot version
";

/// They read a clock, a size or the server's state, wait, or draw a number: nothing that a later borrower could meet, except
/// the place of `random` in its sequence.
pub(super) const VOLATILE: &str = "
    clock_timestamp timeofday pg_sleep pg_sleep_for pg_sleep_until
    gen_random_uuid random
    pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size
    pg_is_in_recovery
";
