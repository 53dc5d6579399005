-- Find the calls that recorded a response: a gateway and its client on two machines are charged once.

CREATE INDEX call_rows_response ON tokenmeter.call_rows USING hash (response_id)
    WHERE length(response_id) >= 22 AND duplicate_of IS NULL;
