CREATE TABLE experiments (experiment_id INTEGER NOT NULL, name VARCHAR(256) NOT NULL, artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT);
CREATE TABLE experiment_tags (key VARCHAR(250) NOT NULL, value VARCHAR(5000), experiment_id INTEGER NOT NULL);
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL, name VARCHAR(250), source_type VARCHAR(20), source_name VARCHAR(500), user_id VARCHAR(256), status VARCHAR(9), start_time BIGINT, end_time BIGINT, source_version VARCHAR(50), lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER, deleted_time BIGINT);
CREATE TABLE params (key VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL);
CREATE TABLE tags (key VARCHAR(250) NOT NULL, value VARCHAR(8000), run_uuid VARCHAR(32) NOT NULL);
CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL, run_uuid VARCHAR(32) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, is_nan BOOLEAN DEFAULT '0' NOT NULL);
CREATE TABLE latest_metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT, step BIGINT NOT NULL, is_nan BOOLEAN NOT NULL, run_uuid VARCHAR(32) NOT NULL);
CREATE TABLE datasets (dataset_uuid VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, name VARCHAR(500) NOT NULL, digest VARCHAR(36) NOT NULL, dataset_source_type VARCHAR(36) NOT NULL, dataset_source TEXT NOT NULL, dataset_schema TEXT, dataset_profile TEXT);
CREATE TABLE inputs (input_uuid VARCHAR(36) NOT NULL, source_type VARCHAR(36) NOT NULL, source_id VARCHAR(36) NOT NULL, destination_type VARCHAR(36) NOT NULL, destination_id VARCHAR(36) NOT NULL, step BIGINT DEFAULT '0' NOT NULL);
CREATE TABLE input_tags (input_uuid VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL, value VARCHAR(500) NOT NULL);
CREATE TABLE registered_models (name VARCHAR(256) NOT NULL, creation_time BIGINT, last_updated_time BIGINT, description VARCHAR(5000));
CREATE TABLE registered_model_tags (key VARCHAR(250) NOT NULL, value VARCHAR(5000), name VARCHAR(256) NOT NULL);
CREATE TABLE registered_model_aliases (alias VARCHAR(256) NOT NULL, version INTEGER NOT NULL, name VARCHAR(256) NOT NULL);
CREATE TABLE model_versions (name VARCHAR(256) NOT NULL, version INTEGER NOT NULL, creation_time BIGINT, last_updated_time BIGINT, description VARCHAR(5000), user_id VARCHAR(256), current_stage VARCHAR(20), source VARCHAR(500), run_id VARCHAR(32), status VARCHAR(20), status_message VARCHAR(500), run_link VARCHAR(500), storage_location VARCHAR(500));
CREATE TABLE model_version_tags (key VARCHAR(250) NOT NULL, value TEXT, name VARCHAR(256) NOT NULL, version INTEGER NOT NULL);
CREATE TABLE logged_models (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, name VARCHAR(500) NOT NULL, artifact_location VARCHAR(1000) NOT NULL, creation_timestamp_ms BIGINT NOT NULL, last_updated_timestamp_ms BIGINT NOT NULL, status INTEGER NOT NULL, lifecycle_stage VARCHAR(32), model_type VARCHAR(500), source_run_id VARCHAR(32), status_message VARCHAR(1000));
CREATE TABLE logged_model_params (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, param_key VARCHAR(255) NOT NULL, param_value TEXT NOT NULL);
CREATE TABLE logged_model_tags (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, tag_key VARCHAR(255) NOT NULL, tag_value TEXT NOT NULL);
CREATE TABLE trace_info (request_id VARCHAR(50) NOT NULL, experiment_id INTEGER NOT NULL, timestamp_ms BIGINT NOT NULL, execution_time_ms BIGINT, status VARCHAR(50) NOT NULL);
CREATE TABLE trace_tags (key VARCHAR(250) NOT NULL, value VARCHAR(8000), request_id VARCHAR(50) NOT NULL);
CREATE TABLE trace_request_metadata (key VARCHAR(250) NOT NULL, value VARCHAR(8000), request_id VARCHAR(50) NOT NULL);
CREATE TABLE evaluation_datasets (dataset_id VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL, schema TEXT, profile TEXT, digest VARCHAR(64), created_time BIGINT, last_update_time BIGINT, created_by VARCHAR(255), last_updated_by VARCHAR(255));

INSERT INTO experiments VALUES (3, 'fraud', 's3://bucket/3', 'active', 1690000000000, 1690000000000);
INSERT INTO runs VALUES ('0123456789abcdef0123456789abcdef', 'first', 'UNKNOWN', '', 'ann', 'FINISHED', 1700000000123, 1700000009456, '', 'active', 's3://bucket/3/a', 3, NULL);
INSERT INTO params VALUES ('opt/kind', 'adam', '0123456789abcdef0123456789abcdef'), ('lr', '0.1', '0123456789abcdef0123456789abcdef');
INSERT INTO tags VALUES ('mlflow.user', 'ann@acme.example', '0123456789abcdef0123456789abcdef'), ('mlflow.source.name', 'train.py', '0123456789abcdef0123456789abcdef'),
  ('mlflow.source.type', 'LOCAL', '0123456789abcdef0123456789abcdef'), ('mlflow.source.git.commit', 'aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd', '0123456789abcdef0123456789abcdef'),
  ('mlflow.parentRunId', 'fedcba9876543210fedcba9876543210', '0123456789abcdef0123456789abcdef');
INSERT INTO latest_metrics VALUES ('loss', 0.30000000000000004, 1700000002000, 1, 0, '0123456789abcdef0123456789abcdef'), ('bad', 0, 1700000002000, 0, 1, '0123456789abcdef0123456789abcdef'),
  ('big', 9e999, 1700000002000, 0, 0, '0123456789abcdef0123456789abcdef');
INSERT INTO datasets VALUES ('d1', 3, 'tx', '1a2b3c4d', 's3', '{"uri": "s3://lake/tx"}', '{}', '{}');
INSERT INTO inputs VALUES ('i1', 'DATASET', 'd1', 'RUN', '0123456789abcdef0123456789abcdef', 0), ('i2', 'RUN_OUTPUT', '0123456789abcdef0123456789abcdef', 'MODEL_OUTPUT', 'm-1', 0);
INSERT INTO input_tags VALUES ('i1', 'mlflow.data.context', 'training');
INSERT INTO registered_models VALUES ('fraud', 1700000010000, 1700000030000, NULL);
INSERT INTO registered_model_aliases VALUES ('champion', 1, 'fraud');
INSERT INTO model_versions VALUES ('fraud', 1, 1700000010000, 1700000020000, NULL, NULL, 'Production', 'models:/m-1', '0123456789abcdef0123456789abcdef', 'READY', NULL, NULL, NULL);
INSERT INTO logged_models VALUES ('m-1', 3, 'clf', 's3://bucket/m', 1700000005000, 1700000005000, 2, 'active', NULL, '0123456789abcdef0123456789abcdef', NULL);
INSERT INTO trace_info VALUES ('tr-1', 3, 1700000000000, 5, 'OK');
INSERT INTO trace_request_metadata VALUES ('mlflow.sourceRun', '0123456789abcdef0123456789abcdef', 'tr-1');
INSERT INTO evaluation_datasets VALUES ('d-9', 'support-eval', NULL, NULL, '77', 1700000000000, 1700000000000, 'ann', NULL);
