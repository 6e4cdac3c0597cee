<?php
// Asked with the parameters as HTTP headers.
if (($_SERVER['HTTP_INSERTIONTYPE'] ?? '') === 'dynamic') {
    echo '{"dst_phone":380443334455}';
} else {
    echo '{"schema":26076}';
}
